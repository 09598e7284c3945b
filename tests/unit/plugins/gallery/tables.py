"""Writes rows into Airflow's own tables, as each release has them, in a SQLite in memory."""

from __future__ import annotations

import uuid
from typing import Any

from airflow.models import import_all_models, xcom
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

#: From Airflow 3.4 on XComs and template fields are those of a try.
OF_TRIES: Any = getattr(xcom, "XComModelV2", None)
#: The table of XComs.
XCOM: Any = (OF_TRIES or xcom.XComModel).__table__


def database() -> Engine:
    """Make an empty database of Airflow."""
    import_all_models()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    return engine


def add_xcom(session: Session, *, key: str, value: Any, timestamp: Any, **place: Any) -> None:
    """Add the XCom of a task instance."""
    row = {"key": key, "value": value, "timestamp": timestamp}
    if OF_TRIES:
        row |= {"id": uuid.uuid4(), "task_instance_id": add_instance(session, **place, at=timestamp)}
    else:
        row |= place | {"dag_run_id": 1 + sum(map(ord, place["dag_id"] + place["run_id"]))}
    session.execute(XCOM.insert(), [row])


def add_fields(session: Session, fields: dict[str, Any], *, at: Any, **place: Any) -> None:
    """Add the rendered template fields of a task instance."""
    row: dict[str, Any] = {"rendered_fields": fields}
    if OF_TRIES:
        row |= {"id": uuid.uuid4(), "task_instance_id": add_instance(session, **place, at=at)}
    else:
        row |= place
    table: Any = RenderedTaskInstanceFields.__table__
    session.execute(table.insert(), [row])


def add_run(session: Session, *, dag_id: str, run_id: str, at: Any, state: str | None = "running") -> None:
    """Add a run, unless it is there."""
    there = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    if session.scalar(there) is None:
        row = {"dag_id": dag_id, "run_id": run_id, "state": state}
        row |= {"run_type": "manual", "run_after": at, "log_template_id": None}
        session.execute(DagRun.__table__.insert(), [row])  # type: ignore[attr-defined]


def add_instance(
    session: Session,
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    at: Any,
    operator: str | None = None,
    state: str | None = None,
) -> Any:
    """Add a task instance, or let the one that is there have this operator and state; return its id."""
    add_run(session, dag_id=dag_id, run_id=run_id, at=at)
    place = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
    place["region_index" if OF_TRIES else "map_index"] = map_index  # type: ignore[assignment]
    columns = TaskInstance.__table__.c
    here = [columns[name] == value for name, value in place.items()]
    if (found := session.scalar(select(columns.id).where(*here))) is None:
        session.execute(TaskInstance.__table__.insert(), [{**place, "pool": "default_pool"}])  # type: ignore[attr-defined]
        found = session.scalar(select(columns.id).where(*here))
    if operator:
        session.execute(update(TaskInstance.__table__).where(*here).values(operator=operator, state=state))
    return found
