"""Builds task groups that submit, wait and archive, for one generation or mapped over rows: ``kling_image``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, cast

from airflow.providers.common.compat.sdk import TaskGroup, XComArg, task_group

from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.api.values import is_blank, plain
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.defaults import default_args_here
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.rendering import MappedCell
from airflow_kling.lifecycle.rows import check_known, fields_of, listed
from airflow_kling.operators.archive import MIB, KlingArchiveImagesOperator
from airflow_kling.operators.multi_image_to_image import KlingMultiImageToImageOperator
from airflow_kling.polling import schedule
from airflow_kling.sensors.task import KlingTaskSensor

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage

P = ParamSpec("P")

#: What differs from row to row; everything else is the same for all of them.
MAPPABLE = (*ROUTE.fields, "destination")

#: Which task takes what is passed, beside the fields of the request.
OF_ALL = ("kling_conn_id", "default_args")
OF_SUBMISSION = (*OF_ALL, "deferrable", "submit_timeout", "on_unknown", "on_clear", "on_input_change")
OF_WAIT = (*OF_ALL, "deferrable", "start_from_trigger", "poke_interval", "timeout")
OF_ARCHIVE = (*OF_ALL, "destination", "aws_conn_id", "s3_extra_args", "max_image_bytes", "accept_unverified", "outlets")


class KlingImages(TaskGroup):
    """A task group that ends with an archive task.

    :ivar output: what the archive task returns: ``{"manifest", "kling_task_id", "images": [...]}``; of mapped ones a
        list. Where only one of the mapped ones has come to its end, Airflow 3 hands over that one without a list.
    """

    output: XComArg


def _with_output(group: Any, archive: KlingArchiveImagesOperator) -> KlingImages:
    """Give a group its output. Airflow makes the group of mapped tasks itself, so it is no instance of our class."""
    group.output = XComArg(archive)
    return cast(KlingImages, group)


class _GroupFactory(Generic[P]):
    """Makes a task group from the parameters that a function declares.

    As with Airflow's operators, what the caller does not pass comes from ``default_args`` before it has the default
    that is declared.
    """

    def __init__(self, declaration: Callable[P, KlingImages]) -> None:
        self._declaration: Callable[..., KlingImages] = declaration
        functools.update_wrapper(self, declaration)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> KlingImages:
        given = inspect.signature(self._declaration).bind(*args, **kwargs).arguments
        with TaskGroup(group_id=given.pop("group_id")) as group:
            return _with_output(group, _make_tasks(given))

    def partial(self, group_id: str, **constants: Any) -> _Mapped:
        """Say what is the same for all rows, before ``expand`` or ``expand_kwargs``."""
        signature = inspect.signature(self._declaration)
        signature.bind_partial(group_id, **constants)
        return _Mapped(group_id, constants, signature.parameters)


class _Mapped:
    """Maps a task group over rows: what ``kling_image.partial`` returns."""

    def __init__(
        self, group_id: str, constants: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
    ) -> None:
        self._group_id = group_id
        self._constants = constants
        self._open = {name: parameters[name].default for name in MAPPABLE if name not in constants}

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

        def make(**mapped: Any) -> KlingImages:
            defaults = default_args_here(self._constants.get("default_args"))
            cells = {
                name: MappedCell(argument, default=defaults.get(name, self._open[name]), literal=name in literal)
                for name, argument in mapped.items()
            }
            archive = _make_tasks({**self._constants, **cells})
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


@_GroupFactory
def kling_image(
    group_id: str,
    *,
    subject_images: Sequence[ReferenceImage] | str,
    destination: str,
    prompt: str | None = None,
    model_name: str | None = None,
    scene_image: ReferenceImage | None = None,
    style_image: ReferenceImage | None = None,
    n: int | str = 1,
    aspect_ratio: str = "16:9",
    negative_prompt: str | None = None,
    watermark_info: dict[str, bool] | None = None,
    callback_url: str | None = None,
    external_task_id: str | None = None,
    kling_conn_id: str = KlingHook.default_conn_name,
    aws_conn_id: str | None = "aws_default",
    s3_extra_args: dict[str, Any] | None = None,
    max_image_bytes: int = 64 * MIB,
    accept_unverified: bool = False,
    outlets: Sequence[Any] | None = None,
    submit_timeout: timedelta | float = schedule.TIMEOUT,
    on_unknown: Literal["fail", "resubmit"] = "fail",
    on_clear: Literal["new", "reuse"] = "new",
    on_input_change: Literal["fail", "new"] = "fail",
    deferrable: bool = True,
    start_from_trigger: bool = False,
    poke_interval: timedelta | float = schedule.POKE_INTERVAL,
    timeout: timedelta | float = schedule.TIMEOUT,
    pool: str | None = None,
    default_args: dict[str, Any] | None = None,
) -> KlingImages:
    """Submit a generation, wait for it, and archive its images: the tasks ``submit``, ``wait``, ``archive`` in a group.

    One generation, or one for each row (rows fail alone)::

        kling_image("shoes", subject_images=["https://..."], prompt="on a beach", destination="s3://bucket/kling")
        kling_image.partial("shoes", n=2, destination="s3://bucket/kling").expand_kwargs(rows())
        kling_image.partial("shoes", subject_images=[...], destination="...").expand(prompt=["on a beach", "in snow"])

    Fields of the request, and ``destination``, are templated and can be mapped over. What is returned has ``output``,
    the archive task's, and goes into ``start >> images >> end`` as a whole.

    A ``pool`` that mirrors Kling's concurrency has to be held from the submission to the end, so with one the tasks
    are ``generate``, which submits, waits and takes ``n`` slots, and ``archive``, which takes none of it.

    :param group_id: name of the group, ``shoes``; its tasks are ``shoes.submit`` and so on.
    :param subject_images: 1 to 4 reference images, and, like the ten parameters after ``destination``, as
        :class:`KlingMultiImageToImageOperator` has it.
    :param destination: ``s3://bucket/prefix`` or any object storage URL.
    :param aws_conn_id: for ``s3://`` destinations, as are ``s3_extra_args``; see
        :class:`KlingArchiveImagesOperator`, which also explains ``max_image_bytes`` and ``accept_unverified``.
    :param outlets: of the archive task; without any, the asset ``kling_images``.
    :param submit_timeout: seconds to wait while Kling refuses for too many requests or parallel tasks.
    :param on_unknown: and ``on_clear``, ``on_input_change``: what may be paid for again, see
        :class:`KlingMultiImageToImageOperator`.
    :param deferrable: wait in the triggerer, holding no worker.
    :param start_from_trigger: the wait takes no worker slot at all (Airflow 3.3+, not with ``pool``); no task listener
        hears of its success, see :class:`KlingTaskSensor`.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds to wait for the generation; it runs on and is billed after that.
    :param pool: of the submission and the generation, counting deferred tasks (``--include-deferred``); needs ``n`` as
        a number.
    :param default_args: of the tasks, such as ``{"retries": 3}``.
    """
    raise NotImplementedError  # declares the parameters: _make_tasks has to know which of them were passed


def _make_tasks(given: Mapping[str, Any]) -> KlingArchiveImagesOperator:
    """Make the tasks, each with those of its parameters that were passed.

    :param given: what was passed to :func:`kling_image`.
    """
    defaults = default_args_here(given.get("default_args"))
    given = {name: value for name, value in given.items() if value is not None or name not in ("pool", "outlets")}
    if "deferrable" not in defaults:
        given.setdefault("deferrable", True)

    def passed(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names if name in given}

    fields: dict[str, Any] = passed(*ROUTE.fields, *OF_SUBMISSION)
    if "pool" not in given:
        submit: Any = KlingMultiImageToImageOperator(task_id="submit", wait_for_completion=False, **fields)
        wait: Any = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, **passed(*OF_WAIT))
        finished = wait.output
    else:
        held = passed("pool", "poke_interval", "timeout")
        finished = KlingMultiImageToImageOperator(
            task_id="generate", wait_for_completion=True, pool_slots=_slots(given, defaults), **held, **fields
        ).output
    return KlingArchiveImagesOperator(task_id="archive", task=finished, **passed(*OF_ARCHIVE))


def _slots(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> int:
    if given.get("start_from_trigger"):
        raise KlingInputError("start_from_trigger does not go with pool: the task that waits has to submit as well.")
    name = ROUTE.slots_field
    slots = {**defaults, **given}.get(name, 1) if name else 1
    if not isinstance(slots, int):
        raise KlingInputError(
            f"{name} is {slots!r}, with pool it must be a number: a task takes as many slots as images."
        )
    return slots
