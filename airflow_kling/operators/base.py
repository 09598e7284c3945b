"""Submits a generation and waits for it: what the operators of all routes share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import conf

from airflow_kling.exceptions import KlingError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import price, templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.redacted_fields import redact_callback, redact_extra_fields, redact_media
from airflow_kling.operators.archiving import ArchivingOperator
from airflow_kling.operators.generation_end import GenerationEndMixin
from airflow_kling.operators.generation_lineage import GenerationLineageMixin
from airflow_kling.operators.refusals import RefusalMixin
from airflow_kling.polling import schedule
from airflow_kling.reporting import lineage, links, xcom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.max_units import Priced
    from airflow_kling.api.route import Route
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.submission.submitter import Submission

    #: A text is a URL, a path or base64; a mapping is what an archive task returns, or an image of it.
    ReferenceImage = str | bytes | PathLike[str] | Mapping[str, Any]


class KlingGenerationOperator(GenerationLineageMixin, RefusalMixin, GenerationEndMixin):
    """Submit a generation to Kling; return the Kling task id. Base of one operator for each route.

    With ``wait_for_completion`` it waits as well and returns the finished task, as ``KlingTaskSensor`` does.
    With a ``destination`` it waits and archives, and returns what :class:`KlingArchiveImagesOperator` does; its
    parameters for that are those of :class:`~airflow_kling.operators.archiving.ArchivingOperator`. A retry after the
    archive has failed archives, and pays for nothing. The Kling task id is also in XCom under the key
    ``kling_task_id``.

    A reference image is an http(s) URL that Kling's servers can reach, a local path, an object storage URL or
    ``ObjectStoragePath``, bytes, raw base64, a ``data:`` URL, or the output of an archive task: all of it means its
    first image, ``output["images"][1]`` its second. Whatever is not an http(s) URL is checked before anything is sent:
    JPEG or PNG, at most 10 MB, at least 300 px a side, ratio between 1:2.5 and 2.5:1 [C].

    Literals are validated when the DAG is parsed, templates when the task runs; wrong input raises
    ``KlingInputError`` and nothing is submitted.

    The submission is the only call that costs money, and it is made once for all tries of a round of work: a retry
    adopts the generation that an earlier try made, see :mod:`airflow_kling.submission`. Where nothing can tell whether
    one was made it raises ``KlingSubmissionError``.

    A subclass sets ``kling_route``, takes that route's fields as parameters, sets them as attributes after
    ``super().__init__()``, and then calls ``self.check_fields()``.

    :param callback_url: gets a POST at every status change.
    :param external_task_id: your own id, unique for each Kling account; further attempts of the task append to it. When
        it is another generation's the task stops. When not given, the task makes one that nobody else has, see
        :mod:`airflow_kling.submission.identity`.
    :param extra_fields: fields of the request body that the API takes and this release does not know,
        ``{"new_field": 1}``: sent as they are; their names are recorded. What is a parameter is refused here.
    :param kling_conn_id: the connection.
    :param submit_timeout: seconds to wait while Kling refuses for too many requests or parallel tasks; nothing is
        created meanwhile. Waits in the triggerer when ``deferrable``, else holds the worker.
    :param on_unknown: when nothing can tell whether an earlier try created a generation: ``fail``, or ``resubmit``,
        which may pay twice.
    :param on_clear: after a user's clear: submit a ``new`` generation, which costs money again, or ``reuse`` the one of
        before if it runs or succeeded (Airflow 3.3+, or a ``record_store`` in the connection).
    :param on_input_change: when the input is no longer what an earlier try submitted: ``fail``, or submit a ``new``
        generation, which costs money again (noticed where a submission record is kept).
    :param max_units: what the generation may cost at most, in units of Kling: by its estimate a dearer one is not
        submitted, and neither is one whose price is not known. The connection's own ``max_units`` counts too.
    :param send_references_as: ``base64``, or ``url``: of what lies in S3, Google Cloud Storage or Azure a signed URL is
        sent, which lasts for the queue and the generation, at most 7 days; the image is read and checked all the same.
        Local files, bytes and base64 are refused then. An http(s) URL is sent as it is in any case, and a video always
        as a URL. Kling's servers have to reach the storage, so its connection needs a public ``endpoint_url``.
    :param wait_for_completion: wait in this task, as it does with a ``destination`` in any case; when the wait times
        out, the generation runs on and is billed.
    :param deferrable: wait in the triggerer, holding no worker; when False the worker is held all the time. By default
        what ``[operators] default_deferrable`` says, which is False.
    :param poke_interval: seconds between two polls at most, where the task waits; by default as the route needs it: in
        the triggerer an image is polled first after 11 s, a video after a minute and then every 20 s.
    :param timeout: seconds to wait for the generation; by default 3600 for images, 7200 for videos.
    """

    kling_route: ClassVar[Route]
    template_fields: Sequence[str] = (
        *("extra_fields", "kling_conn_id", "max_units"),
        *ArchivingOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        "prompt": "md",
        "negative_prompt": "md",
        "watermark_info": "json",
        "extra_fields": "json",
        "s3_extra_args": "json",
    }
    operator_extra_links = links.GALLERY_LINKS
    ui_color = "#e2dcfa"

    def __init__(
        self,
        *,
        callback_url: str | None = None,
        external_task_id: str | None = None,
        extra_fields: dict[str, Any] | None = None,
        kling_conn_id: str = KlingHook.default_conn_name,
        submit_timeout: timedelta | float = schedule.SUBMIT_TIMEOUT,
        on_unknown: Literal["fail", "resubmit"] = "fail",
        on_clear: Literal["new", "reuse"] = "new",
        on_input_change: Literal["fail", "new"] = "fail",
        max_units: float | str | None = None,
        send_references_as: Literal["base64", "url"] = "base64",
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.callback_url = callback_url
        self.external_task_id = external_task_id
        self.extra_fields = extra_fields
        self.kling_conn_id = kling_conn_id
        self.submit_timeout = templates.seconds(submit_timeout, "submit_timeout")
        self.on_unknown = templates.one_of("on_unknown", on_unknown, "fail", "resubmit")
        self.on_clear = templates.one_of("on_clear", on_clear, "new", "reuse")
        self.on_input_change = templates.one_of("on_input_change", on_input_change, "fail", "new")
        self.max_units = max_units
        self.send_references_as = templates.one_of("send_references_as", send_references_as, "base64", "url")
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = templates.optional_seconds(poke_interval, "poke_interval")
        self.timeout = templates.optional_seconds(timeout, "timeout")

    @property
    def text_fields(self) -> tuple[str, ...]:  # type: ignore[override]
        """Name the template fields that hold a text, whatever it reads like."""
        texts = self.kling_route.request.text_fields()
        own = (name for name in texts if name not in self.kling_route.media)
        return (*own, "kling_conn_id", "destination", "aws_conn_id")

    def check_fields(self) -> None:
        """Check what is literal of the route's fields, which a subclass has set.

        :raises KlingInputError: a literal breaks a limit.
        """
        templates.check_literals(self.kling_route, self._fields(), as_url=self.send_references_as == "url")
        price.check_literals(self.kling_route, self._fields(), self.max_units)
        make_storable(self)

    @property
    def route_name(self) -> str:
        """Name of the route of the Kling task."""
        return self.kling_route.name

    def _fields(self) -> dict[str, Any]:
        return {name: self.rendered_value(name) for name in (*self.kling_route.fields, "extra_fields")}

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Show references without signatures and payloads, of a callback URL the host, of extra fields the names."""
        others = {"callback_url": redact_callback, "extra_fields": redact_extra_fields}
        return {**dict.fromkeys(self.kling_route.media, redact_media), **others, **super().redactions()}

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
            try:
                request, asked, priced = self._request()
            except KlingError as error:
                error.money = f"{error.money} {self._earlier_submission(context)}".strip()
                raise
            self._request_record = asked
            lineage.report_hook_lineage(self.hook, inputs=lineage.addresses(asked["references"]))
            while True:
                with self.hook.get_conn() as client:
                    submission = self._submission(context, client, request, asked, priced, refused_attempt)
                    try:
                        task = submission.run()
                        break
                    except KlingError as error:
                        refusals += 1
                        delay = self.delay_after(error, refusals, submit_deadline)
                        refused_attempt = submission.refused_attempt
                self.pause(delay, submit_deadline=submit_deadline, refusals=refusals, refused_attempt=refused_attempt)
            self._push_request(context, task, {**asked, "external_task_id": submission.external_task_id})
            if not (self.wait_for_completion or self.archives):
                return task.kling_task_id
            wait = self.wait_deferred if self.deferrable else self.wait_here
            return self.end(context, wait(task.kling_task_id, time.time() + self.wait_seconds))

    def _request(self) -> tuple[KlingRequest, dict[str, Any], Priced]:
        from airflow_kling.api.request import build_request, for_gateway
        from airflow_kling.lifecycle import allowed
        from airflow_kling.storage.open import open_object

        fields = self._fields()
        templates.check_named("kling_conn_id", self.kling_conn_id)
        self.check_destination()
        templates.check_rendered({**fields, "kling_conn_id": self.kling_conn_id}, verbatim=self._verbatim)
        allowed.check_references(self.kling_route, fields)
        request, references = build_request(
            self.kling_route,
            fields,
            open_file=open_object,
            sign_url=self._sign_url,
            as_url=self.send_references_as == "url",
        )
        gateway = self.hook.settings.api
        request = for_gateway(self.kling_route, request, gateway, references)
        priced = price.of_request(self.kling_route.name, request, self.hook, self.max_units)
        asked = xcom.describe_request(
            self.kling_route, request, references, gateway_name=gateway.name, estimated_units=priced.units
        )
        return request, asked, priced

    def _sign_url(self, address: str, name: str) -> str:
        from airflow_kling.storage.sign import lasting, sign_url

        seconds = lasting(self.submit_timeout, self.kling_route.pace.deadline)
        private = self.hook.settings.allow_private_hosts
        return sign_url(address, name=name, seconds=seconds, allow_private_hosts=private)

    def _submission(
        self,
        context: Context,
        client: KlingClient,
        request: KlingRequest,
        asked: Mapping[str, Any],
        priced: Priced,
        refused_attempt: int | None,
    ) -> Submission:
        from airflow_kling.lifecycle.submitting import make_submission

        return make_submission(
            context,
            client,
            request,
            asked,
            route=self.kling_route,
            settings=self.hook.settings,
            retries=self.retries or 0,
            archive=self.record_place,
            estimate=priced.estimate,
            too_dear=priced.too_dear,
            refused_attempt=refused_attempt,
            on_unknown=self.on_unknown,
            on_clear=self.on_clear,
            on_input_change=self.on_input_change,
        )

    def _earlier_submission(self, context: Context) -> str:
        """Say what an earlier try has paid for; blank where nothing tells."""
        from airflow_kling.lifecycle.submitting import earlier_submission

        try:
            settings, archive = self.hook.settings, self.record_place
        except Exception:  # the error that ends the try is worth more
            return ""
        base, retries = self.external_task_id, self.retries or 0
        return earlier_submission(context, base=base, settings=settings, retries=retries, archive=archive)

    def _push_request(self, context: Context, task: KlingTask, asked: Mapping[str, Any]) -> None:
        """Leave in XCom what the tasks after this one need: the id, and the request record for the manifest."""
        self._kling_task_id, self._request_record = task.kling_task_id, dict(asked)
        if ti := context.get("ti"):
            ti.xcom_push(key="kling_task_id", value=task.kling_task_id)
            ti.xcom_push(key=xcom.request_key(task.kling_task_id), value=dict(asked))
            for key, use in xcom.describe_uses(task.kling_task_id, asked).items():
                ti.xcom_push(key=key, value=use)
        waits_here = (self.wait_for_completion or self.archives) and not self.deferrable
        links.set_gallery_link(self, context, task.kling_task_id, at_once=waits_here)
