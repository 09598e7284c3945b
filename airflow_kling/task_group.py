"""Declares ``kling_image`` and ``kling_generate``: task groups that submit, wait and archive, once or mapped.

The groups are made in :mod:`airflow_kling.grouping`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_kling.grouping import GroupFactory, KlingImages
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.operators.archiving import MIB
from airflow_kling.polling import schedule

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage

__all__ = ["KlingImages", "kling_generate", "kling_image"]


@GroupFactory
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
    extra_fields: dict[str, Any] | None = None,
    kling_conn_id: str = KlingHook.default_conn_name,
    aws_conn_id: str | None = "aws_default",
    s3_extra_args: dict[str, Any] | None = None,
    max_image_bytes: int = 64 * MIB,
    max_image_pixels: int = 80_000_000,
    max_video_bytes: int = 1024 * MIB,
    max_video_pixels: int = 40_000_000,
    max_video_seconds: float = 600,
    accept_unverified: bool = False,
    outlets: Sequence[Any] | None = None,
    submit_timeout: timedelta | float = schedule.SUBMIT_TIMEOUT,
    on_unknown: Literal["fail", "resubmit"] = "fail",
    on_clear: Literal["new", "reuse"] = "new",
    on_input_change: Literal["fail", "new"] = "fail",
    max_units: float | str | None = None,
    send_references_as: Literal["base64", "url"] = "base64",
    deferrable: bool = True,
    start_from_trigger: bool | None = None,
    poke_interval: timedelta | float | None = None,
    timeout: timedelta | float | None = None,
    compact: bool = False,
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

    With ``compact`` the one task ``generate`` does all three: two short visits to a worker, and no URL of a result in
    XCom. A retry archives what is paid for; a clear pays for another generation, unless ``on_clear="reuse"``. A
    ``pool`` that mirrors Kling's concurrency has to be held from the submission to the end, so with one it is always
    compact, and the task takes ``n`` slots.

    :param group_id: name of the group, ``shoes``; its tasks are ``shoes.submit`` and so on.
    :param subject_images: 1 to 4 reference images, and, like the ten parameters after ``destination``, as
        :class:`KlingMultiImageToImageOperator` has it.
    :param destination: ``s3://bucket/prefix`` or any object storage URL.
    :param aws_conn_id: for ``s3://`` destinations, as are ``s3_extra_args``; see
        :class:`~airflow_kling.operators.archiving.ArchivingOperator`, which also explains the ``max_...`` and
        ``accept_unverified``.
    :param outlets: of the task that archives; without any, the asset ``kling_images``.
    :param submit_timeout: seconds to wait while Kling refuses for too many requests or parallel tasks.
    :param on_unknown: and ``on_clear``, ``on_input_change``: what may be paid for again, and ``max_units``: what the
        generation may cost; see :class:`KlingMultiImageToImageOperator`.
    :param send_references_as: ``base64`` or ``url``, see :class:`KlingMultiImageToImageOperator`.
    :param deferrable: wait in the triggerer, holding no worker.
    :param start_from_trigger: whether the wait starts in the triggerer and takes no worker slot at all (Airflow 3.3+).
        None: yes, unless something of yours needs a worker, see :class:`KlingTaskSensor`. True is refused with
        ``compact`` or ``pool``.
    :param poke_interval: seconds between two polls at most; by default as the route needs it.
    :param timeout: seconds to wait for the generation, by default 3600 for images and 7200 for videos; it runs on and
        is billed after that.
    :param compact: one task in place of three.
    :param pool: of the one task, counting deferred tasks (``--include-deferred``); needs ``n`` as a number.
    :param default_args: of the tasks, such as ``{"retries": 3}``.
    """
    raise NotImplementedError  # declares the parameters: GroupFactory has to know which of them were passed


@GroupFactory
def kling_generate(
    group_id: str,
    *,
    route: str,
    destination: str,
    compact: bool = False,
    pool: str | None = None,
    default_args: dict[str, Any] | None = None,
    **fields: Any,
) -> KlingImages:
    """Submit a generation of any route, wait for it, and archive its results, as :func:`kling_image` does for its own.

    One generation, or one for each row (rows fail alone)::

        kling_generate("clip", route="image-to-video", image=shoes.output, prompt="slow turn", destination="s3://b/k")
        kling_generate.partial("clip", route="image-to-video", destination="s3://b/k").expand_kwargs(rows())
        kling_generate.partial("clip", route="text-to-video", destination="s3://b/k").expand(prompt=["a cat", "a dog"])

    Fields are checked while the DAG is parsed, as far as they are known by then. A reference may be the output of an
    archive task, which is read from the archive: ``image=shoes.output`` is its first image,
    ``image=shoes.output["images"][1]`` its second.

    With ``compact`` or a ``pool`` the one task ``generate`` does all three; of the pool it takes a slot for each image,
    and one for a clip, from the submission to the end.

    :param group_id: name of the group, ``clip``; its tasks are ``clip.submit`` and so on.
    :param route: such as ``image-to-video``; known while the DAG is parsed.
    :param destination: ``s3://bucket/prefix`` or any object storage URL.
    :param compact: one task in place of three.
    :param pool: of the one task, counting deferred tasks (``--include-deferred``).
    :param default_args: of the tasks, such as ``{"retries": 3}``.
    :param fields: fields of the request, as the operator of the route has them, such as
        :class:`KlingImageToVideoOperator`; and the options that :func:`kling_image` has: ``kling_conn_id``,
        ``aws_conn_id``, ``outlets``, ``deferrable``, ``timeout`` and so on.
    :raises KlingInputError: there is no such route, or no such field; names those of the route.
    """
    raise NotImplementedError  # declares the parameters, as above
