"""Makes the tasks of a generation of any route as a task group, once or for each row that it is mapped over."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, cast

from airflow.providers.common.compat.sdk import TaskGroup, XComArg

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.api.values import is_blank, plain
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.defaults import default_args_here
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.rendering import MappedCell
from airflow_kling.lifecycle.rows import check_known, fields_of, listed
from airflow_kling.operators import find_operator
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.archiving import ArchivingOperator
from airflow_kling.operators.base import KlingGenerationOperator
from airflow_kling.sensors.task import KlingTaskSensor

if TYPE_CHECKING:
    from airflow_kling.api.route import Route

P = ParamSpec("P")

#: What the group itself gives to its tasks.
OF_THE_GROUP = {"self", "kwargs", "kling_task_id", "route", "task", "wait_for_completion"}
#: What every operator of Airflow takes.
OF_ALL = {"default_args"}


class KlingImages(TaskGroup):
    """A task group that ends with a task that archives.

    :ivar output: what that task returns: ``{"manifest", "kling_task_id", "images": [...]}``, with ``"videos"``
        where the route makes any; of mapped ones a list. Where only one of the mapped ones has come to its end,
        Airflow 3 hands over that one without a list.
    """

    output: XComArg


def _with_output(group: Any, archive: ArchivingOperator) -> KlingImages:
    """Give a group its output. Airflow makes the group of mapped tasks itself, so it is no instance of our class."""
    group.output = archive.output
    return cast(KlingImages, group)


def _parameters(*kinds: type) -> dict[str, inspect.Parameter]:
    """Return what operators take by name, beside what the group gives them."""
    found = {name: one for kind in kinds for name, one in inspect.signature(vars(kind)["__init__"]).parameters.items()}
    return {name: one for name, one in found.items() if name not in OF_THE_GROUP}


class _Tasks:
    """What the tasks of a route take, which is found in their signatures, and how they are made.

    :ivar mappable: what may differ from row to row, with its default; everything else is the same for all of them.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._operator = find_operator(route.name)
        own = _parameters(KlingGenerationOperator, self._operator)
        self._submission = own.keys() | OF_ALL
        self._wait = _parameters(KlingTaskSensor).keys() | OF_ALL
        archiving = _parameters(ArchivingOperator, KlingArchiveImagesOperator)
        self._archive = archiving.keys() | OF_ALL | {"outlets"}
        self._defaults = {name: one.default for name, one in own.items()}
        self.mappable = {name: self._defaults[name] for name in (*route.fields, "extra_fields")}
        self.mappable["destination"] = inspect.Parameter.empty

    def check(self, names: Collection[str]) -> None:
        """Refuse what none of the tasks takes.

        :raises KlingInputError: says what the fields of the route are.
        """
        known = self._submission | self._wait | self._archive | {"pool", "compact"}
        if odd := sorted(name for name in names if name not in known):
            raise KlingInputError(
                f"{', '.join(odd)}: neither a field of route {self._route.name!r} nor an option of its tasks; the "
                f"fields are {', '.join(self._route.fields)}."
            )

    def make(self, given: Mapping[str, Any]) -> ArchivingOperator:
        """Make the tasks, each with those of its parameters that were passed; return the last one."""
        defaults = default_args_here(given.get("default_args"))
        given = {name: value for name, value in given.items() if value is not None or name not in ("pool", "outlets")}
        if "deferrable" not in defaults:
            given.setdefault("deferrable", True)

        def passed(names: Collection[str]) -> dict[str, Any]:
            return {name: value for name, value in given.items() if name in names}

        if "pool" in given or given.get("compact"):
            pool = {"pool": given["pool"], "pool_slots": self._slots(given, defaults)} if "pool" in given else {}
            return self._one_task(passed(self._submission | self._archive) | pool, given)
        route = self._route.name
        # Else a destination of the default_args would be the submission's too.
        submission = {"wait_for_completion": False, "destination": None, **passed(self._submission)}
        submit: Any = self._operator(task_id="submit", **submission)
        wait: Any = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, route=route, **passed(self._wait))
        return KlingArchiveImagesOperator(task_id="archive", task=wait.output, route=route, **passed(self._archive))

    def _one_task(self, passed: Mapping[str, Any], given: Mapping[str, Any]) -> ArchivingOperator:
        if given.get("start_from_trigger"):
            raise KlingInputError(
                "start_from_trigger does not go with pool or compact: the task that waits has to submit as well."
            )
        return self._operator(task_id="generate", **passed)

    def _slots(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> int:
        fields = {**self._defaults, **defaults, **given}
        if not templates.is_literal(fields.get("result_type")):
            raise KlingInputError("result_type must be known with pool: it says how many slots the task takes.")
        name = self._route.names_slots(fields)
        slots = fields[name] if name else 1
        if not isinstance(slots, int):
            raise KlingInputError(
                f"{name} is {slots!r}, with pool it must be a number: a task takes as many slots as images."
            )
        return slots


@functools.cache
def _tasks_of(route_name: str) -> _Tasks:
    return _Tasks(find_route(route_name))


class GroupFactory(Generic[P]):
    """Makes a task group from the parameters that a function declares.

    As with Airflow's operators, what the caller does not pass comes from ``default_args`` before it has the default
    that is declared.
    """

    def __init__(self, declaration: Callable[P, KlingImages]) -> None:
        self._declaration: Callable[..., KlingImages] = declaration
        functools.update_wrapper(self, declaration)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> KlingImages:
        """Make the group."""
        group_id, tasks, given = self._read(inspect.signature(self._declaration).bind(*args, **kwargs))
        with TaskGroup(group_id=group_id) as group:
            return _with_output(group, tasks.make(given))

    def partial(self, group_id: str, **constants: Any) -> _Mapped:
        """Say what is the same for all rows, before ``expand`` or ``expand_kwargs``."""
        signature = inspect.signature(self._declaration)
        _, tasks, given = self._read(signature.bind_partial(group_id, **constants))
        return _Mapped(group_id, tasks, given)

    def _read(self, bound: inspect.BoundArguments) -> tuple[str, _Tasks, dict[str, Any]]:
        """Return the name of the group, its tasks, and what they were given."""
        given = dict(bound.arguments)
        given |= given.pop("fields", {})
        route = given.pop("route", None) if "route" in bound.signature.parameters else DEFAULT_ROUTE
        if not isinstance(route, str):
            raise KlingInputError(
                f"route is {route!r}, it must be a text that is known while the DAG is parsed, such as "
                "'image-to-video'."
            )
        tasks = _tasks_of(route)
        tasks.check(given.keys() - {"group_id"})
        return given.pop("group_id"), tasks, given


class _Mapped:
    """Maps a task group over rows: what ``partial`` returns."""

    def __init__(self, group_id: str, tasks: _Tasks, constants: Mapping[str, Any]) -> None:
        self._group_id = group_id
        self._tasks = tasks
        self._constants = constants
        self._open = {name: default for name, default in tasks.mappable.items() if name not in constants}

    def expand(self, **lists: Any) -> KlingImages:
        """Make a generation for each element of a list, of several lists for each combination.

        :param lists: of a field of the request, or ``destination``: a list, or the output of a task. An element that
            is None, blank or NaN is as if it were not given.
        """
        self._check(lists)
        mapped = {name: self._each_cell(name, given) for name, given in lists.items()}
        literal = [name for name, given in lists.items() if not isinstance(given, XComArg)]
        return self._grouped(list(lists), literal).expand(**mapped)  # type: ignore[no-any-return]

    def expand_kwargs(self, rows: Any) -> KlingImages:
        """Make a generation for each row.

        :param rows: list of dicts, or the output of a task: fields of the request, and ``destination``. What a row
            lacks, or has as None, NaN or a blank text, is as if it were not given. Templates are rendered in a list
            that stands in the DAG file; in the output of a task they are refused.
        """
        names, literal = list(self._open), not isinstance(rows, XComArg)
        complete = self._completing(names, literal=literal)
        mapped = [complete(row) for row in listed(rows)] if literal else rows.map(complete)
        return self._grouped(names, names if literal else ()).expand_kwargs(mapped)  # type: ignore[no-any-return]

    def _each_cell(self, name: str, given: Any) -> Any:
        literal = not isinstance(given, XComArg)
        complete = self._completing([name], literal=literal)

        def cell(value: Any) -> Any:
            return complete({name: value})[name]

        return [cell(value) for value in listed(given, name)] if literal else given.map(cell)

    def _grouped(self, names: Collection[str], literal: Collection[str]) -> Any:
        """Return what makes the group of a row.

        :param literal: names whose values stand in the DAG file.
        """
        # Imports all of Airflow's decorators, which takes longer than all of ours.
        from airflow.providers.common.compat.sdk import task_group

        def make(**mapped: Any) -> KlingImages:
            defaults = default_args_here(self._constants.get("default_args"))
            cells = {
                name: MappedCell(argument, default=defaults.get(name, self._open[name]), literal=name in literal)
                for name, argument in mapped.items()
            }
            archive = self._tasks.make({**self._constants, **cells})
            return _with_output(archive.task_group, archive)

        # Airflow maps over the parameters that a function names.
        make.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        )
        return task_group(group_id=self._group_id)(make)

    def _completing(self, names: list[str], *, literal: bool = False) -> Callable[[Any], dict[str, Any]]:
        """Return what checks a row, and gives it each of the names.

        :param literal: the row stands in the DAG file.
        """
        required = [name for name in names if self._open.get(name) is inspect.Parameter.empty]

        def complete(row: Any) -> dict[str, Any]:
            with failing_fast():
                fields = fields_of(row)
                self._check(fields)
                given = {name: plain(value) for name, value in fields.items() if not is_blank(value)}
                if missing := [name for name in required if name not in given]:
                    raise KlingInputError(f"A row has no {' and no '.join(missing)}; nothing was submitted for it.")
                if literal:
                    check_known(given)
                elif "destination" in given:
                    templates.check_rendered({"destination": given["destination"]})
                if "destination" in given:
                    templates.check_destination_literal(given["destination"])
            return dict.fromkeys(names) | given

        return complete

    def _check(self, names: Collection[str]) -> None:
        if odd := sorted(str(name) for name in names if name not in self._open):
            raise KlingInputError(
                f"{', '.join(odd)} cannot be mapped over: not a field of the request nor destination, or given to "
                f"partial() already. Left to map over are: {', '.join(self._open)}."
            )
