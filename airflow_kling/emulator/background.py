"""Fetches reference images and posts callbacks. A task that has neither costs nothing here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx

from airflow_kling.emulator.callbacks import Callbacks, Delivery
from airflow_kling.emulator.references import NotAnImage, Reference, ReferenceStore
from airflow_kling.emulator.tasks import PROCESSING, SUBMITTED, Task, TaskStore

log = logging.getLogger(__name__)

_PARALLEL = 8
_TIMEOUT = 10.0
"""Seconds for a reference or a callback."""
_KEPT_FETCHES = 256
_KEPT_CALLBACKS = 10_000
_TICK = 0.02
"""Seconds between two readings of the clock while callbacks are due. A test may move the clock at any time."""


class Background:
    """Fetches references and posts callbacks, on the event loop that serves the requests."""

    _client: httpx.AsyncClient
    _connections: asyncio.Semaphore

    def __init__(self, store: TaskStore, references: ReferenceStore, callbacks: Callbacks) -> None:
        self._store = store
        self._references = references
        self._callbacks = callbacks
        self._running: set[asyncio.Task[Any]] = set()
        self._fetches: OrderedDict[Reference, asyncio.Task[Reference]] = OrderedDict()
        self._due: list[tuple[float, str, Task, str]] = []
        self._posting = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Provide an HTTP client while the server runs; cancel unfinished work at its end."""
        self._connections = asyncio.Semaphore(_PARALLEL)
        # No proxies of the environment: references and callbacks of a local API are local.
        async with httpx.AsyncClient(
            timeout=_TIMEOUT, follow_redirects=True, max_redirects=5, trust_env=False
        ) as self._client:
            try:
                yield
            finally:
                for job in self._running:
                    job.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        job = asyncio.get_running_loop().create_task(work)
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        return job

    def start(self, task: Task) -> None:
        """Begin the work for a new task: its references, its callbacks."""
        if task.ends_at is None:
            self._spawn(self._fetch_all(task))
        if task.creation.callback_url and len(self._due) < _KEPT_CALLBACKS:
            self._post(task)
            heapq.heappush(self._due, (task.starts_at, task.task_id, task, SUBMITTED))
            if not self._posting:
                self._posting = True
                self._spawn(self._post_due())

    async def _fetch_all(self, task: Task) -> None:
        failure, route = None, task.endpoint.route
        # The same picture may be named twice, in fields with different limits.
        for asked in {reference for reference in task.creation.references if reference.url}:
            try:
                # Shielded: other tasks wait for the same fetch.
                reference = await asyncio.shield(self._fetch_once(asked))
            except (httpx.HTTPError, httpx.InvalidURL, NotAnImage) as error:
                reason = str(error) or type(error).__name__
                failure = failure or f"Failed to download the reference {asked.kind}: {reason}"
            else:
                task.pictures[asked.url or ""] = reference.sha256
                failure = failure or reference.problem
                if reference.video:
                    failure = failure or route.video_problem(task.creation.fields, reference.video)
                    task.source_seconds = reference.video.seconds
        self._store.references_fetched(task, failure)

    def _fetch_once(self, asked: Reference) -> asyncio.Task[Reference]:
        # Many tasks name the same picture; it is fetched once.
        fetch = self._fetches.get(asked)
        if fetch is None:
            fetch = self._fetches[asked] = self._spawn(self._fetch(asked))
            fetch.add_done_callback(functools.partial(self._forget_failed, asked))
            if len(self._fetches) > _KEPT_FETCHES:
                self._fetches.popitem(last=False)
        return fetch

    def _forget_failed(self, asked: Reference, fetch: asyncio.Task[Reference]) -> None:
        if fetch.cancelled() or fetch.exception():
            self._fetches.pop(asked, None)

    async def _fetch(self, asked: Reference) -> Reference:
        async with self._connections, self._client.stream("GET", asked.url or "") as response:
            response.raise_for_status()
            data = bytearray()
            async for part in response.aiter_bytes():
                data += part
                if len(data) > asked.most_bytes:
                    raise NotAnImage(f"File size exceeds the limit of {asked.most_bytes // 2**20}MB")
        if asked.kind == "video":
            return await asyncio.to_thread(self._references.admit_video, bytes(data))
        return await asyncio.to_thread(self._references.admit, bytes(data), asked.stretch)

    async def _post_due(self) -> None:
        while self._due:
            await asyncio.sleep(_TICK)
            now = self._store.clock()
            while self._due and self._due[0][0] <= now:
                _, _, task, posted = heapq.heappop(self._due)
                self._post_change(task, posted, now)
        self._posting = False

    def _post_change(self, task: Task, posted: str, now: float) -> None:
        status = task.status(now)
        if status != posted:
            self._post(task)
        if status in (SUBMITTED, PROCESSING):
            # The end is not known while references are being fetched, so the next tick checks again.
            when = now + _TICK if task.ends_at is None else task.ends_at
            heapq.heappush(self._due, (when, task.task_id, task, status))

    def _post(self, task: Task) -> None:
        # What is sent late is what was true now.
        for delivery in self._callbacks.deliveries(task):
            self._spawn(self._deliver(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        while self._store.clock() < delivery.due:  # noqa: ASYNC110 - a test may move the clock at any time
            await asyncio.sleep(_TICK)
        headers = self._callbacks.headers(delivery)
        try:
            async with self._connections:
                await self._client.post(delivery.url, content=delivery.content, headers=headers, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.info("A callback for task %s failed: %r", delivery.task_id, error)  # the URL may hold a token
