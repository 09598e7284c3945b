"""Reads generations from Airflow's metadata database, by the index on the ``key`` of its XComs.

The row of a generation is the XCom that its archive task pushed; before that, the one that its submitting task pushed.
A value that a custom XCom backend keeps elsewhere is not fetched: its row has an id and nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from sqlalchemy import JSON, and_, case, false, func, literal, or_, select, tuple_, type_coerce, union
from sqlalchemy.orm import Session, aliased

from airflow_kling.api.price_list import PACKS
from airflow_kling.api.protocol import LIST_KINDS
from airflow_kling.api.routes import find_route, route_names
from airflow_kling.plugins.gallery import value_columns
from airflow_kling.plugins.gallery.filters import PAGE_SIZE, Filters
from airflow_kling.plugins.gallery.json_columns import number_at, text_at, text_length
from airflow_kling.plugins.gallery.rows import MAX_VALUE, Identity, Row, Spend, TaskStates
from airflow_kling.reporting import xcom

ARCHIVE, REQUEST, USE = xcom.archive_key(""), xcom.request_key(""), xcom.use_key("")
assert len(ARCHIVE) == len(REQUEST)  # so that one expression cuts the id out of both
#: Limit of ids in a question for states: the generations of a page.
MAX_IDS = PAGE_SIZE
MAX_ROWS = 20 * MAX_IDS


def find_page(session: Session, filters: Filters, readable: Collection[str]) -> list[Row]:
    """Return one page of generations, the newest first.

    :param readable: ids of the DAGs that the user may read
    """
    # Sort the primary keys alone and read the values of one page after that: a database sorts all columns that it
    # selects, and the values are most of the table.
    dialect = session.get_bind().dialect.name
    primary_keys = select(XComModel.dag_run_id, XComModel.task_id, XComModel.map_index, XComModel.key)
    newest_first = (XComModel.timestamp.desc(), *(column.desc() for column in primary_keys.selected_columns))
    chosen = _filtered(primary_keys, filters, readable, dialect).order_by(*newest_first)
    on_page = session.execute(chosen.limit(PAGE_SIZE).offset((filters.page - 1) * PAGE_SIZE)).all()
    if not on_page:
        return []
    # By the index on keys; the rest of the primary key drops what other tasks have pushed under the same one.
    primary_key = tuple_(*primary_keys.selected_columns)
    values = _rows().add_columns(_value(), _is_too_large())
    values = values.where(
        XComModel.key.in_({one.key for one in on_page}), primary_key.in_([tuple(one) for one in on_page])
    )
    return [_row(one) for one in session.execute(values.order_by(*newest_first))]


def find_spend(session: Session, filters: Filters, readable: Collection[str]) -> list[Spend]:
    """Return the sums of each DAG that matches the filters, whatever DAG these name: the page offers all of them."""
    archived = _has_prefix(XComModel.key, ARCHIVE)
    dialect = session.get_bind().dialect.name
    units = number_at(XComModel.value, "units", dialect)
    sums = select(
        XComModel.dag_id,
        func.count(),
        func.sum(case((archived, 1), else_=0)),
        func.sum(number_at(XComModel.value, "image_count", dialect)),
        func.sum(number_at(XComModel.value, "video_count", dialect)),
        *(func.sum(case((value_columns.pack() == pack, units))) for pack in PACKS),
    )
    # Where a run is named too, only its own DAG is meant: other DAGs can have a run of the same id.
    found = session.execute(
        _filtered(sums, filters, readable, dialect, of_one_dag=bool(filters.run_id)).group_by(XComModel.dag_id)
    )
    spend = [
        Spend(dag_id, n, int(a or 0), int(_finite(i)), int(_finite(v)), dict(zip(PACKS, map(_finite, u), strict=True)))
        for dag_id, n, a, i, v, *u in found
    ]
    return sorted(spend, key=lambda one: one.dag_id)


def _finite(total: Any) -> float:
    # An XCom can hold an infinite number, or one that makes the sum infinite.
    number = float(total or 0)
    return number if math.isfinite(number) else 0.0


def find_value(session: Session, identity: Identity) -> tuple[bool, Any] | None:
    """Return whether a generation is archived, and the value of its XCom; None where it does not exist.

    A value that is too large is None.
    """
    dag_id, run_id, task_id, map_index, kling_task_id = identity
    if not all(map(_is_storable, (dag_id, run_id, task_id, kling_task_id))):
        return None
    found = session.execute(
        select(XComModel.key, _value())
        .where(XComModel.key.in_((ARCHIVE + kling_task_id, REQUEST + kling_task_id)))
        .where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        .where(XComModel.task_id == task_id, XComModel.map_index == map_index)
        .order_by(XComModel.key)
    ).first()
    return (found.key.startswith(ARCHIVE), found.value) if found else None


def find_rows(session: Session, kling_task_ids: Iterable[str], readable: Collection[str]) -> list[Row]:
    """Return the rows of these generations without values, those that exist and that the user may read.

    Several DAGs can name the same Kling task: each has rows of its own, but no more than :data:`MAX_ROWS` in all.
    """
    ids = list(dict.fromkeys(filter(_is_storable, kling_task_ids)))[:MAX_IDS]
    keys = [prefix + one for one in ids for prefix in (ARCHIVE, REQUEST)]
    readable_ones = _unindexed(XComModel.dag_id).in_(readable)
    chosen = _rows().where(XComModel.key.in_(keys), readable_ones).order_by(XComModel.key).limit(MAX_ROWS)
    rows = [_row(one) for one in session.execute(chosen)]
    archived = {row.identity.generation for row in rows if row.archived}
    return [row for row in rows if row.archived or row.identity.generation not in archived]


def find_values(
    session: Session, keys: Iterable[str], readable: Collection[str], *, most: int, max_value: int
) -> list[Row]:
    """Return the XComs with these keys, the newest first; without value where it is longer than ``max_value``.

    :param readable: ids of the DAGs that the user may read.
    :param most: how many of them at most.
    """
    keys = list(filter(_is_storable, keys))
    if not keys:
        return []
    short = case((text_length(XComModel.value) <= max_value, XComModel.value)).label("value")
    chosen = _rows().add_columns(short).where(XComModel.key.in_(keys), _unindexed(XComModel.dag_id).in_(readable))
    return [_row(one) for one in session.execute(chosen.order_by(XComModel.timestamp.desc()).limit(most))]


def _is_storable(text: str) -> bool:
    # PostgreSQL stores no NUL, and its driver fails on one.
    return "\0" not in text


def find_states(session: Session, rows: Sequence[Row]) -> dict[Identity, TaskStates]:
    """Return the states of the tasks of generations, for those that are not archived."""
    wanted = {(row.identity.dag_id, row.identity.run_id, row.identity.map_index) for row in rows if not row.archived}
    if not wanted:
        return {}
    group = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.map_index)
    # Only our operators tell about a generation. A subclass of ours can have any name; it pushed the row.
    is_relevant = or_(
        TaskInstance.operator.startswith("Kling"),
        TaskInstance.task_id.in_({row.identity.task_id for row in rows}),
    )
    found = session.execute(
        select(*group, TaskInstance.task_id, TaskInstance.state, DagRun.state)
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .where(tuple_(*group).in_(wanted), is_relevant)
    ).all()
    tasks: dict[tuple[str, str, int], dict[str, str | None]] = {}
    runs: dict[tuple[str, str], str | None] = {}
    for dag_id, run_id, map_index, task_id, state, run_state in found:
        tasks.setdefault((dag_id, run_id, map_index), {})[task_id] = state
        runs[dag_id, run_id] = run_state
    return {row.identity: _states(row.identity, tasks, runs) for row in rows if not row.archived}


def _states(
    one: Identity, tasks: dict[tuple[str, str, int], dict[str, str | None]], runs: dict[tuple[str, str], str | None]
) -> TaskStates:
    others = dict(tasks.get((one.dag_id, one.run_id, one.map_index), {}))
    return TaskStates(others.pop(one.task_id, None), others, runs.get((one.dag_id, one.run_id)))


def _rows() -> Any:
    task_instance = (XComModel.dag_id, XComModel.run_id, XComModel.task_id, XComModel.map_index)
    return select(*task_instance, XComModel.key, XComModel.timestamp)


def _row(one: Any) -> Row:
    kling_task_id = one.key[len(USE if one.key.startswith(USE) else ARCHIVE) :]
    identity = Identity(one.dag_id, one.run_id, one.task_id, one.map_index, kling_task_id)
    value, is_too_large = getattr(one, "value", None), bool(getattr(one, "is_too_large", False))
    return Row(identity, one.key.startswith(ARCHIVE), one.timestamp, value, is_too_large)


def _value() -> Any:
    # The database compares the length: a value that is too large must not even be sent, since decoding it takes many
    # times its size.
    return case((text_length(XComModel.value) <= MAX_VALUE, XComModel.value)).label("value")


def _is_too_large() -> Any:
    return (text_length(XComModel.value) > MAX_VALUE).label("is_too_large")


def _has_prefix(key: Any, prefix: str) -> Any:
    # LIKE does not use an index in every collation of PostgreSQL; a range does, and it needs bounds that end with a
    # letter. The exact prefix then drops the rest.
    word = prefix.rstrip("_")
    return and_(key >= word, key < word[:-1] + chr(ord(word[-1]) + 1), key.startswith(prefix, autoescape=True))


def _generations() -> Any:
    """Return the condition for rows of the gallery: archives, and requests of generations that are not archived."""
    archive = aliased(XComModel)
    archived = select(archive.dag_run_id, archive.map_index, archive.key).where(_has_prefix(archive.key, ARCHIVE))
    # Not a correlated NOT EXISTS: SQLite then reads all XComs of the DAG for each row. The run and the map index too:
    # any DAG can push the archive of another one's generation.
    name = (XComModel.dag_run_id, XComModel.map_index, literal(ARCHIVE).concat(_kling_task_id(XComModel.key)))
    waiting = tuple_(*name).not_in(archived)
    return or_(_has_prefix(XComModel.key, ARCHIVE), and_(_has_prefix(XComModel.key, REQUEST), waiting))


def _unindexed(column: Any) -> Any:
    # The index on DAGs finds all XComs of a DAG, and the one on keys only those of the gallery: hide the column from
    # the database's planner, so that it does not choose the first.
    return func.coalesce(column, "")


def _kling_task_id(key: Any) -> Any:
    return func.substr(key, len(ARCHIVE) + 1)


def _filtered(
    statement: Any, filters: Filters, readable: Collection[str], dialect: str, *, of_one_dag: bool = True
) -> Any:
    statement = statement.where(_generations(), _unindexed(XComModel.dag_id).in_(readable))
    if filters.dag_id and of_one_dag:
        statement = statement.where(_unindexed(XComModel.dag_id) == filters.dag_id)
    if filters.run_id:
        statement = statement.where(_unindexed(XComModel.run_id).in_(filters.run_ids))
    if filters.task_id:
        of_task = _kling_task_id(XComModel.key).in_(_ids_of_task(filters))
        # Within a function PostgreSQL hashes the ids; as a join it compares each with each.
        statement = statement.where(func.coalesce(of_task, false()))
    if filters.kling_task_id:
        keys = (ARCHIVE + filters.kling_task_id, REQUEST + filters.kling_task_id)
        statement = statement.where(XComModel.key.in_(keys))
    if begin := filters.begin:
        statement = statement.where(XComModel.timestamp >= begin)
    if end := filters.end:
        statement = statement.where(XComModel.timestamp < end)
    if filters.route:
        statement = statement.where(value_columns.route() == filters.route)
    if filters.kind:
        statement = statement.where(_has_kind(filters.kind, dialect))
    if filters.text:
        statement = statement.where(value_columns.in_prompt(filters.text))
    return statement


def _ids_of_task(filters: Filters) -> Any:
    """Return the query for ids of generations that a task instance submitted, waited for, waits for or archived."""
    # An alias: the outer query reads the same table.
    pushed, fields = aliased(XComModel), RenderedTaskInstanceFields
    rendered = type_coerce(fields.rendered_fields, JSON)  # Airflow 3.1's own type of it knows no keys

    def of_task(model: Any) -> list[Any]:
        conditions = [model.task_id == filters.task_id]
        if filters.dag_id:
            conditions.append(model.dag_id == filters.dag_id)
        if filters.run_id:
            conditions.append(model.run_id.in_(filters.run_ids))
        if filters.map_index is not None:
            conditions.append(model.map_index == filters.map_index)
        return conditions

    is_generation = or_(_has_prefix(pushed.key, ARCHIVE), _has_prefix(pushed.key, REQUEST))
    return union(
        select(_kling_task_id(pushed.key)).where(*of_task(pushed), is_generation),
        # A sensor that has ended returned the id; one that still waits has it in a template field.
        select(text_at(pushed.value, "kling_task_id")).where(*of_task(pushed), pushed.key == XCOM_RETURN_KEY),
        _of_fields(select(text_at(rendered, "kling_task_id")), of_task),
    )


def _of_fields(statement: Any, of_task: Callable[[Any], list[Any]]) -> Any:
    fields: Any = RenderedTaskInstanceFields
    if hasattr(fields, "task_id"):
        return statement.where(*of_task(fields))
    # From Airflow 3.4 on they are those of a try, and its task instance says whose.
    return statement.join(TaskInstance, fields.task_instance_id == TaskInstance.id).where(*of_task(TaskInstance))


def _has_kind(kind: str, dialect: str) -> Any:
    """Return the condition for results of a kind: those of an archive, or those that the route of a request makes."""
    archived = _has_prefix(XComModel.key, ARCHIVE)
    routes = [name for name in route_names() if kind in {LIST_KINDS[one] for one in find_route(name).results}]
    count = number_at(XComModel.value, f"{kind}_count", dialect)
    return case((archived, func.coalesce(count, 0) > 0), else_=value_columns.route().in_(routes))
