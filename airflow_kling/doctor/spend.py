"""Finds out, with one or two paid generations, what the account does: models, duplicates, lists, callbacks, results."""

from __future__ import annotations

import base64
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from airflow_kling.api.price_list import LIST_DATE
from airflow_kling.api.request import known_models
from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.api.tasks import FAILED
from airflow_kling.doctor.findings import Finding, fail, note, ok
from airflow_kling.doctor.network import make_client
from airflow_kling.doctor.prices import price_of
from airflow_kling.exceptions import KlingBadRequestError, KlingError, KlingTaskNotFoundError

if TYPE_CHECKING:
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.connection import Settings
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.doctor.transcript import Transcript

TIMEOUT = 300.0  # seconds to wait for the generation
CALLBACK_TIMEOUT = 30.0  # seconds after the generation has ended
POLL = 5.0  # seconds


def price_sentence(settings: Settings) -> str:
    """Say what :meth:`Spending.run` pays for."""
    estimate = price_of(ROUTE, {"model_name": known_models(ROUTE, settings.api)[0]}, settings).estimate
    source = f"Kling's list price of {LIST_DATE}" if estimate and estimate.listed else "the connection's prices"
    each = f"{source}: {estimate} each" if estimate else "their price is not known"
    own = "" if settings.gateway == "official" else "; CometAPI's prices are not known"
    return f"This pays for two generations of one image at most ({each}{own})."


@dataclass
class Spending:
    """One paid examination of an account.

    :ivar extra: what it found, as fields of the connection's extra.
    :ivar created: Kling task ids that were paid for.
    """

    settings: Settings
    transcript: Transcript
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    extra: dict[str, Any] = field(default_factory=dict, init=False)
    created: list[str] = field(default_factory=list, init=False)

    def run(self) -> Iterator[Finding]:
        """Submit, and tell what comes of it."""
        external_task_id = f"airflow-doctor-{secrets.token_hex(12)}"
        fields = {
            "subject_images": [_picture("teal"), _picture("orange")],
            "prompt": "two colours side by side",
            "n": 1,
        }
        request = ROUTE.request.parse({**fields, "external_task_id": external_task_id})
        model = {"model_name": known_models(ROUTE, self.settings.api)[0]}
        if too_dear := price_of(ROUTE, model, self.settings).too_dear:
            yield fail("price", f"{too_dear}; nothing was submitted.")
            return
        with make_client(self.settings, self.transcript) as client:
            try:
                task = client.create(request)
            except KlingError as error:
                yield fail("model", f"The submission was refused: {error}")
                return
            self.created.append(task.kling_task_id)
            yield ok("model", f"Kling took the submission as task {task.kling_task_id}.")
            yield self._check_duplicates(client, request)
            yield self._check_external_id(client, external_task_id)
            yield self._check_list(client)
            yield from self._check_result(client)
        yield self._check_callback(external_task_id)

    def _check_duplicates(self, client: KlingClient, request: Any) -> Finding:
        try:
            second = client.create(request)
        except KlingBadRequestError:
            self.extra["refuses_duplicates"] = True
            return ok(
                "duplicates", "A second submission with the same external_task_id is refused: nothing is paid twice."
            )
        except KlingError as error:
            return note("duplicates", f"Whether a second submission is refused cannot be told: {error}")
        self.created.append(second.kling_task_id)
        self.extra["refuses_duplicates"] = False
        return note(
            "duplicates",
            f"A second submission with the same external_task_id was taken as task {second.kling_task_id}: set "
            "refuses_duplicates to no in the connection, and keep submission records.",
        )

    def _check_external_id(self, client: KlingClient, external_task_id: str) -> Finding:
        try:
            found = client.get(external_task_id, deadline=0)
        except (KlingTaskNotFoundError, KlingBadRequestError):
            return note("recovery", "A task cannot be asked for by its external_task_id here.")
        except KlingError as error:
            return note("recovery", f"Whether a task can be asked for by its external_task_id cannot be told: {error}")
        if found.kling_task_id not in self.created:
            return fail(
                "recovery", f"external_task_id {external_task_id} leads to another task, {found.kling_task_id}."
            )
        return ok("recovery", "A task can be asked for by its external_task_id, so a lost answer is found again.")

    def _check_list(self, client: KlingClient) -> Finding:
        try:
            listed = {task.kling_task_id for task in client.list(page_size=30, deadline=0)}
        except KlingError:
            return note("list", "The account's tasks cannot be listed here: each waiting task is polled by itself.")
        if not set(self.created) & listed:
            return note("list", "The account's tasks can be listed, but the new one is not on the first page.")
        return ok("list", "The account's tasks can be listed: one request tells of many waiting tasks.")

    def _check_result(self, client: KlingClient) -> Iterator[Finding]:
        try:
            task = self._wait(client)
        except KlingError as error:
            yield fail("result", f"The generation cannot be polled: {error}")
            return
        if not task.finished:
            yield fail("result", f"Task {task.kling_task_id} is {task.status} after {TIMEOUT:.0f} s.")
        elif task.status == FAILED:
            yield fail("result", f"The generation failed: {task.status_message or 'no reason given'}.")
        else:
            for result in task.results:
                yield self._check_download(result.url)

    def _check_callback(self, external_task_id: str) -> Finding:
        from airflow_kling.storage.open import open_store
        from airflow_kling.submission.callback_notes import read_note

        if not self.settings.callback_base_url:
            return note("callbacks", "The connection has no callback_base_url, so none was asked for.")
        end = self.clock() + CALLBACK_TIMEOUT
        try:
            store = open_store(self.settings.record_store)
            while (noted := read_note(store, external_task_id)) is None and self.clock() < end:
                self.sleep(POLL)
        except Exception as error:  # each storage library has errors of its own, whose texts may hold signed URLs
            reason = str(error) if isinstance(error, KlingError) else type(error).__name__
            return fail("callbacks", f"The record store cannot be read ({reason}).")
        if noted is None:
            return fail("callbacks", "None has reached the receiver: check that Kling can reach callback_base_url.")
        return ok("callbacks", f"The receiver has noted Kling task {noted}.")

    def _wait(self, client: KlingClient) -> KlingTask:
        end = self.clock() + TIMEOUT
        while True:
            task = client.get(self.created[0])
            if task.finished or self.clock() > end:
                return task
            self.sleep(POLL)

    def _check_download(self, url: str) -> Finding:
        from airflow_kling.archive.download import download_result

        try:
            with tempfile.TemporaryFile(prefix="kling-doctor-") as file:
                got = download_result(url, file, **self.settings.download_options())
        except KlingError as error:
            return fail("download", str(error))
        media = got.media
        return ok("download", f"The result is a whole {media.content_type} of {media.width}x{media.height} pixels.")


def _picture(colour: str) -> str:
    from PIL import Image

    picture = BytesIO()
    Image.new("RGB", (512, 512), colour).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()
