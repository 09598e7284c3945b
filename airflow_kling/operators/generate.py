"""``KlingMultiImageToImageOperator``: reference images and a prompt become a generation at Kling."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_kling import asking, lineage, links, metrics, pacing
from airflow_kling.dag_params import make_storable
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.failures import failing_fast
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.ledger import Identity, Ledger, fingerprint
from airflow_kling.object_storage import open_object
from airflow_kling.waiting import KlingWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.models import KlingTask, MultiImageToImageRequest
    from airflow_kling.submission import Submission

    ReferenceImage = str | bytes | PathLike[str]


class KlingMultiImageToImageOperator(KlingWaitMixin, BaseOperator):
    """Submit a multi-image-to-image generation to Kling; return the Kling task id.

    With ``wait_for_completion`` it waits as well and returns the finished task, as ``KlingTaskSensor`` does.
    The task id is also in XCom under the key ``kling_task_id``.

    A reference image is an http(s) URL that Kling's servers can reach, a local path, an object storage URL or
    ``ObjectStoragePath``, bytes, raw base64, or a ``data:`` URL. Whatever is not an http(s) URL is checked before
    anything is sent: JPEG or PNG, at most 10 MB, at least 300 px a side, ratio between 1:2.5 and 2.5:1.

    Literals are validated when the DAG is parsed, templates when the task runs; wrong input raises
    ``KlingInputError`` and nothing is submitted.

    The submission is the only call that costs money, and it is made once for all tries of a round of work: a retry
    adopts the generation that an earlier try made, see :mod:`airflow_kling.submission`. Where nothing can tell whether
    one was made it raises ``KlingSubmissionError``.

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
    :param external_task_id: your own id, unique per Kling account; further attempts of the task append to it. When not
        given, the task instance makes one, see :mod:`airflow_kling.ledger`.
    :param kling_conn_id: the connection.
    :param submit_timeout: seconds to wait while Kling refuses for too many requests or parallel tasks; nothing is
        created meanwhile. Waits in the triggerer when ``deferrable``, else holds the worker.
    :param on_unknown: when nothing can tell whether an earlier try created a generation: ``fail``, or ``resubmit``,
        which may pay twice.
    :param on_clear: after a user's clear: submit a ``new`` generation, which costs money again, or ``reuse`` the one of
        before if it runs or succeeded (Airflow 3.3+).
    :param on_input_change: when the input is no longer what an earlier try submitted: ``fail``, or submit a ``new``
        generation, which costs money again (noticed on Airflow 3.3+).
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
    operator_extra_links = links.GALLERY_LINKS
    ui_color = "#e2dcfa"
    _asked: dict[str, Any] | None = None
    _kling_task_id: str | None = None

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
        submit_timeout: timedelta | float = pacing.TIMEOUT,
        on_unknown: Literal["fail", "resubmit"] = "fail",
        on_clear: Literal["new", "reuse"] = "new",
        on_input_change: Literal["fail", "new"] = "fail",
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = pacing.POKE_INTERVAL,
        timeout: timedelta | float = pacing.TIMEOUT,
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
        self.submit_timeout = pacing.seconds(submit_timeout, "submit_timeout")
        self.on_unknown = _one_of("on_unknown", on_unknown, "fail", "resubmit")
        self.on_clear = _one_of("on_clear", on_clear, "new", "reuse")
        self.on_input_change = _one_of("on_input_change", on_input_change, "fail", "new")
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = pacing.seconds(poke_interval, "poke_interval")
        self.timeout = pacing.seconds(timeout, "timeout")
        asking.check_literals(self._fields())
        make_storable(self)

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in asking.FIELDS}

    def execute(self, context: Context) -> str | dict[str, Any]:
        """Check, submit once, and return the id, or wait."""
        return self._execute(context)

    def resume_submission(self, context: Context, event: Any, **state: Any) -> str | dict[str, Any]:
        """Go on after a deferral that Kling's refusal for too many requests or tasks had made necessary."""
        return self._execute(context, **state)

    def _execute(
        self,
        context: Context,
        *,
        submit_deadline: float | None = None,
        refusals: int = 0,
        refused_attempt: int | None = None,
    ) -> str | dict[str, Any]:
        submit_deadline = submit_deadline or time.time() + self.submit_timeout
        with failing_fast():
            request, asked = self._request()
            self._asked = asked
            lineage.report_hook_lineage(self.hook, inputs=lineage.addresses(asked["references"]))
            while True:
                with self.hook.get_conn() as client:
                    submission = self._submission(context, client, request, asked, refused_attempt)
                    try:
                        task = submission.run()
                        break
                    except KlingError as error:
                        refusals += 1
                        delay = self._delay(error, refusals, submit_deadline)
                        refused_attempt = submission.refused_attempt
                self._pause(delay, submit_deadline=submit_deadline, refusals=refusals, refused_attempt=refused_attempt)
            self._tell(context, task, {**asked, "external_task_id": submission.external_task_id})
            if not self.wait_for_completion:
                return task.kling_task_id
            wait = self.wait_deferred if self.deferrable else self.wait_here
            return wait(task.kling_task_id, time.time() + self.timeout)

    def _request(self) -> tuple[MultiImageToImageRequest, dict[str, Any]]:
        request, references = asking.build_request(self._fields(), open_file=open_object)
        gateway = self.hook.settings.api
        request = request.for_gateway(gateway)
        return request, asking.describe(request, references, gateway=gateway.name)

    def _submission(
        self,
        context: Context,
        client: KlingClient,
        request: MultiImageToImageRequest,
        asked: Mapping[str, Any],
        refused_attempt: int | None,
    ) -> Submission:
        from airflow_kling.submission import Submission

        return Submission(
            client=client,
            request=request,
            identity=Identity.of(context, retries=self.retries or 0, base=request.external_task_id),
            ledger=Ledger(context.get("task_state_store")),
            fingerprint=fingerprint(asked),
            refused_attempt=refused_attempt,
            on_unknown=self.on_unknown,
            on_clear=self.on_clear,
            on_input_change=self.on_input_change,
        )

    def _delay(self, error: KlingError, refusals: int, deadline: float) -> float:
        """Seconds until Kling may take the submission; raises the error where waiting is no answer to it."""
        from airflow_kling.api.retry import delay_after_refusal

        delay = delay_after_refusal(error, refusals, now=time.time(), deadline=deadline, dice=random.random())
        if delay is None:
            raise error
        self.log.info("%s Trying again in %.0f s.", error, delay)
        return delay

    def _pause(self, delay: float, **state: Any) -> None:
        """Wait in the triggerer, from where :meth:`resume_submission` goes on, or here."""
        if not self.deferrable:
            time.sleep(delay)
            return
        from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

        pause = timedelta(seconds=max(delay, pacing.FIRST_LOOK_AFTER_DEFERRAL))
        self.defer(trigger=TimeDeltaTrigger(pause), method_name="resume_submission", kwargs=state)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """References as they are given; nothing is read for it."""
        from airflow_kling.openlineage import operator_lineage

        given = [*asking.as_list(self.subject_images), self.scene_image, self.style_image]
        return operator_lineage(kling_task_id=None, asked={}, inputs=lineage.addresses_as_given(given))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """References and what was asked; after a failure, OpenLineage asks here too."""
        from airflow_kling.openlineage import operator_lineage

        kling_task_id, asked = self._kling_task_id, self._asked
        if asked is None:  # another process has submitted, before the deferral
            kling_task_id, asked = self._told(task_instance)
        return operator_lineage(
            kling_task_id=kling_task_id,
            asked=asked,
            units=metrics.units_of(self._finished.unit_deduction) if self._finished else None,
            inputs=lineage.addresses(asked.get("references") or ()),
        )

    def _told(self, ti: Any) -> tuple[str | None, dict[str, Any]]:
        """What :meth:`_tell` has left in XCom."""
        own = {"task_ids": self.task_id, "map_indexes": ti.map_index}
        kling_task_id = ti.xcom_pull(key="kling_task_id", **own)
        asked = ti.xcom_pull(key=asking.xcom_key(kling_task_id), **own) if kling_task_id else None
        return kling_task_id, asked or {}

    def _tell(self, context: Context, task: KlingTask, asked: Mapping[str, Any]) -> None:
        """Leave in XCom what the tasks after this one need: the id, and what was asked, for the manifest."""
        self._kling_task_id = task.kling_task_id
        if ti := context.get("ti"):
            ti.xcom_push(key="kling_task_id", value=task.kling_task_id)
            ti.xcom_push(key=asking.xcom_key(task.kling_task_id), value=dict(asked))
        links.push_gallery_link(context, task.kling_task_id)


def _one_of(name: str, value: Any, *choices: str) -> Any:
    if value not in choices:
        raise KlingInputError(f"{name} is {value!r}, must be one of {', '.join(choices)}.")
    return value
