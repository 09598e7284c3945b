"""``KlingMultiImageToImageOperator``: reference images and a prompt become a generation at Kling."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_kling import asking, polling
from airflow_kling.failures import failing_fast
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.waiting import KlingWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.models import KlingTask, MultiImageToImageRequest

    ReferenceImage = str | bytes | PathLike[str]


class KlingMultiImageToImageOperator(KlingWaitMixin, BaseOperator):
    """Submit a multi-image-to-image generation to Kling; return the Kling task id.

    With ``wait_for_completion`` it waits as well and returns the finished task, as ``KlingTaskSensor`` does.
    The task id is also in XCom under the key ``kling_task_id``.

    A reference image is an http(s) URL that Kling's servers can reach, a local path, an object storage URL or
    ``ObjectStoragePath``, bytes, raw base64, or a ``data:`` URL. Whatever is not an http(s) URL is checked before
    anything is sent: JPEG or PNG, at most 10 MB, at least 300 px a side, ratio between 1:2.5 and 2.5:1.

    Literals are validated when the DAG is parsed, templates when the task runs; wrong input raises
    ``KlingInputError`` and nothing is submitted. A submission is the only call that costs money.

    :param subject_images: 1 to 4 reference images; CometAPI's default gateway takes 2 to 4.
    :param prompt: at most 2500 characters.
    :param model_name: the gateway's default when not given: ``kling-v2``, on ``official`` ``kling-v2-1``.
    :param scene_image: one reference image for the scene.
    :param style_image: one reference image for the style.
    :param n: number of images, 1 to 9; each is billed, and takes one of the account's parallel slots until the end.
    :param aspect_ratio: ``16:9`` (default), ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3`` or ``21:9``.
    :param negative_prompt: at most 2500 characters; not on CometAPI's default gateway.
    :param watermark_info: ``{"enabled": bool}``; not on CometAPI's default gateway.
    :param callback_url: gets a POST at every status change.
    :param external_task_id: your own id, unique per Kling account.
    :param kling_conn_id: the connection.
    :param wait_for_completion: wait in this task; when the wait times out, the generation runs on and is billed.
    :param deferrable: wait in the triggerer, holding no worker; when False the worker is held all the time.
    :param poke_interval: seconds between two looks, with ``wait_for_completion``.
    :param timeout: seconds to wait, with ``wait_for_completion``.
    """

    template_fields: Sequence[str] = (*asking.FIELDS, "kling_conn_id")
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        "subject_images": "json",
        "watermark_info": "json",
        "prompt": "md",
        "negative_prompt": "md",
    }
    ui_color = "#e2dcfa"

    def __init__(
        self,
        *,
        subject_images: Sequence[ReferenceImage] | str,
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
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = polling.POKE_INTERVAL,
        timeout: timedelta | float = polling.TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subject_images = subject_images
        self.prompt = prompt
        self.model_name = model_name
        self.scene_image = scene_image
        self.style_image = style_image
        self.n = n
        self.aspect_ratio = aspect_ratio
        self.negative_prompt = negative_prompt
        self.watermark_info = watermark_info
        self.callback_url = callback_url
        self.external_task_id = external_task_id
        self.kling_conn_id = kling_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = polling.seconds(poke_interval)
        self.timeout = polling.seconds(timeout)
        asking.check_literals(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in asking.FIELDS}

    def execute(self, context: Context) -> str | dict[str, Any]:
        """Check, submit once, and return the id, or wait."""
        with failing_fast():
            request, references = asking.build_request(self._fields(), open_file=_open_object_storage)
            request = request.for_gateway(self.hook.settings.api)
            task = self._submit(request)
            self._tell(context, task, asking.describe(request, references, gateway=self.hook.settings.api.name))
            if not self.wait_for_completion:
                return task.kling_task_id
            wait = self.wait_deferred if self.deferrable else self.wait_here
            return wait(task.kling_task_id, time.time() + self.timeout)

    def _submit(self, request: MultiImageToImageRequest) -> KlingTask:
        with self.hook.get_conn() as client:
            task = client.create(request)
        self.log.info("Kling generates %d image(s) as task %s, which will be billed.", request.n, task.kling_task_id)
        return task

    def _tell(self, context: Context, task: KlingTask, asked: Mapping[str, Any]) -> None:
        """Leave in XCom what the tasks after this one need: the id, and what was asked, for the manifest."""
        if ti := context.get("ti"):
            ti.xcom_push(key="kling_task_id", value=task.kling_task_id)
            ti.xcom_push(key=asking.xcom_key(task.kling_task_id), value=dict(asked))


def _open_object_storage(url: str) -> BinaryIO:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    file: BinaryIO = ObjectStoragePath(url).open("rb")
    return file
