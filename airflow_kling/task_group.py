"""Builds task groups that submit, wait and archive, for one generation or mapped over rows: ``kling_image``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, cast

from airflow.providers.common.compat.sdk import TaskGroup, XComArg, task_group

from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.operators.archive import MIB, KlingArchiveImagesOperator
from airflow_kling.operators.multi_image_to_image import KlingMultiImageToImageOperator
from airflow_kling.polling import schedule
from airflow_kling.sensors.task import KlingTaskSensor

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage

P = ParamSpec("P")

#: What differs from row to row; everything else is the same for all of them.
MAPPABLE = (*ROUTE.fields, "destination")


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
    """A function that makes tasks and returns the last one, called within a task group of its own."""

    def __init__(self, make_tasks: Callable[P, KlingArchiveImagesOperator]) -> None:
        self._make_tasks: Callable[..., KlingArchiveImagesOperator] = make_tasks
        functools.update_wrapper(self, make_tasks)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> KlingImages:
        names = inspect.signature(self._make_tasks).bind(*args, **kwargs).arguments
        with TaskGroup(group_id=names["group_id"]) as group:
            return _with_output(group, self._make_tasks(*args, **kwargs))

    def partial(self, group_id: str, **constants: Any) -> _Mapped:
        """Say what is the same for all rows, before ``expand`` or ``expand_kwargs``."""
        inspect.signature(self._make_tasks).bind_partial(group_id, **constants)
        return _Mapped(functools.partial(self._make_tasks, group_id, **constants), group_id, constants)


class _Mapped:
    """Maps a task group over rows: what ``kling_image.partial`` returns."""

    def __init__(
        self, make_tasks: Callable[..., KlingArchiveImagesOperator], group_id: str, constants: Collection[str]
    ) -> None:
        self._make_tasks = make_tasks
        self._group_id = group_id
        self._open = [name for name in MAPPABLE if name not in constants]

    def expand(self, **lists: Any) -> KlingImages:
        """Make a generation for each element of a list, of several lists for each combination.

        :param lists: of a field of the request, or ``destination``: a list, or the output of a task.
        """
        self._check(lists)
        if isinstance(given := lists.get("destination"), list | tuple):
            for destination in given:
                templates.check_destination_literal(destination)
        return self._grouped(lists).expand(**lists)  # type: ignore[no-any-return]

    def expand_kwargs(self, rows: Any) -> KlingImages:
        """Make a generation for each row.

        :param rows: list of dicts, or the output of a task: fields of the request, and ``destination``. What a row
            lacks, or has as None or an empty text, is as if it were not given.
        """
        group, complete = self._grouped(self._open), self._completing()
        mapped = rows.map(complete) if isinstance(rows, XComArg) else [complete(row) for row in rows]
        return group.expand_kwargs(mapped)  # type: ignore[no-any-return]

    def _grouped(self, names: Collection[str]) -> Any:
        def make(**mapped: Any) -> KlingImages:
            archive = self._make_tasks(**mapped)
            return _with_output(archive.task_group, archive)

        # Airflow maps over the parameters that a function names.
        make.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        )
        return task_group(group_id=self._group_id)(make)

    def _completing(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        parameters = [inspect.signature(self._make_tasks).parameters[name] for name in self._open]
        required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
        defaults = {parameter.name: parameter.default for parameter in parameters if parameter.name not in required}

        def complete(row: Mapping[str, Any]) -> dict[str, Any]:
            given = {name: value for name, value in row.items() if value is not None and value != ""}
            with failing_fast():
                self._check(row)
                if missing := [name for name in required if name not in given]:
                    raise KlingInputError(f"A row has no {' and no '.join(missing)}; nothing was submitted for it.")
                if "destination" in given:
                    templates.check_destination_literal(given["destination"])
            return defaults | given

        return complete

    def _check(self, names: Collection[str]) -> None:
        if odd := sorted(set(names) - set(self._open)):
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
) -> KlingArchiveImagesOperator:
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
        :class:`KlingArchiveImagesOperator`, which also explains ``max_image_bytes``.
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
    of_connection: dict[str, Any] = {"kling_conn_id": kling_conn_id, "default_args": default_args or {}}
    of_archive: dict[str, Any] = {} if outlets is None else {"outlets": outlets}
    pace: dict[str, Any] = {"deferrable": deferrable, "poke_interval": poke_interval, "timeout": timeout}
    generate: Any = functools.partial(
        KlingMultiImageToImageOperator,
        subject_images=subject_images,
        prompt=prompt,
        model_name=model_name,
        scene_image=scene_image,
        style_image=style_image,
        n=n,
        aspect_ratio=aspect_ratio,
        negative_prompt=negative_prompt,
        watermark_info=watermark_info,
        callback_url=callback_url,
        external_task_id=external_task_id,
        submit_timeout=submit_timeout,
        on_unknown=on_unknown,
        on_clear=on_clear,
        on_input_change=on_input_change,
        **of_connection,
    )
    if pool is None:
        submit = generate(task_id="submit", deferrable=deferrable)
        finished = _wait(submit, start_from_trigger=start_from_trigger, **pace, **of_connection)
    else:
        slots = _slots(n, start_from_trigger)
        finished = generate(task_id="generate", wait_for_completion=True, pool=pool, pool_slots=slots, **pace).output
    return KlingArchiveImagesOperator(
        task_id="archive",
        task=finished,
        destination=destination,
        aws_conn_id=aws_conn_id,
        s3_extra_args=s3_extra_args,
        max_image_bytes=max_image_bytes,
        **of_connection,
        **of_archive,
    )


def _wait(submit: Any, **options: Any) -> Any:
    wait: Any = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, **options)
    return wait.output


def _slots(n: Any, start_from_trigger: bool) -> int:
    if start_from_trigger:
        raise KlingInputError("start_from_trigger does not go with pool: the task that waits has to submit as well.")
    if not isinstance(n, int):
        raise KlingInputError(f"n is {n!r}, with pool it must be a number: a task takes as many slots as images.")
    return n
