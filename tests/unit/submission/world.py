"""A Kling account that two Airflows share, their records, and all that can go wrong between them.

A *unit* is the work between two clears of a task instance of one run: it may pay for one generation, and may adopt no
other's.
"""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow_kling.api.callbacks import callback_name
from airflow_kling.api.gateways import COMETAPI, OFFICIAL, Gateway
from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingBadRequestError,
    KlingConnectionError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)
from airflow_kling.submission.callback_notes import write_note
from airflow_kling.submission.identity import Identity
from airflow_kling.submission.record import RecordStore, TaskState
from airflow_kling.submission.submitter import Submission

GATEWAYS = {
    "refuses and finds": OFFICIAL,
    "refuses only": COMETAPI,
    "finds only": replace(OFFICIAL, refuses_duplicates=False, has_list=False),
    "lists only": replace(OFFICIAL, refuses_duplicates=False, finds_external_ids=False),
    "neither": replace(COMETAPI, refuses_duplicates=False),
}
LAYERS = ("task state", "objects", "none")
RETRIES = 4
START = 1_800_000_000.0


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may see it."""


@dataclass
class World:
    """The API's own books, what is stored, and what goes wrong next.

    :param skew: seconds by which the API's clock is ahead.
    :param objects: an object store that all Airflows share.
    :param undelivered: callbacks that may come yet: an ``external_task_id`` and the Kling task id.
    :param sparse: queries do not tell the ``external_task_id``.
    """

    gateway: Gateway
    skew: float = 0.0
    mishaps: list[str] = field(default_factory=list)
    tasks: list[KlingTask] = field(default_factory=list)
    units: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    undelivered: list[tuple[str, str]] = field(default_factory=list)
    sparse: bool = False
    now: float = START

    def clock(self) -> float:
        self.now += 0.5
        return self.now

    def mishap(self) -> str:
        return self.mishaps.pop(0) if self.mishaps else "none"

    def end_one(self, status: str) -> None:
        for position, task in enumerate(self.tasks):
            if task.status == "submitted":
                self.tasks[position] = task.model_copy(update={"status": status})
                return

    def live(self, unit: Any) -> list[KlingTask]:
        """What a unit has paid for."""
        return [task for task in self.tasks if task.status != "failed" and self.units[task.kling_task_id] == unit]

    def create(self, external_task_id: str | None, unit: Any) -> KlingTask:
        created = datetime.fromtimestamp(self.clock() + self.skew, UTC)
        task = KlingTask(kling_task_id=str(len(self.tasks)), external_task_id=external_task_id, created_at=created)
        self.tasks.append(task)
        self.units[task.kling_task_id] = unit
        self.undelivered.append((external_task_id or "", task.kling_task_id))
        return task


class Store:
    """``task_state_store``, of which each call may be the last one of the process."""

    def __init__(self, world: World, state: dict[str, str], key: str) -> None:
        self._world, self._state, self._key = world, state, key

    def get(self, key: str) -> Any:
        return json.loads(self._state[self._key]) if self._key in self._state else None

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        mishap = self._world.mishap()
        if mishap == "killed before":
            raise Killed
        if mishap == "store error":
            raise RuntimeError("the API server of Airflow is away")
        self._state[self._key] = json.dumps(value)
        if mishap == "killed after":
            raise Killed


class Objects(Store):
    """The same as an object store: records are found by name, and by the start of the run."""

    name = "object"

    def __init__(self, world: World, identity: Identity) -> None:
        self._folder = identity.key
        super().__init__(world, world.objects, f"{identity.key}/{identity.run.started}")

    def read(self) -> Any:
        return self.get("")

    def others(self) -> list[Any]:
        mine = [key for key in self._state if key.startswith(self._folder) and key != self._key]
        return [json.loads(self._state[key]) for key in mine]

    def write(self, value: Any) -> None:
        self.set("", value)


class Notes:
    """The record store as the receiver of callbacks and recovery see it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._notes: dict[str, bytes] = {}

    def uri(self, key: str) -> str:
        return key

    def download(self, key: str, target: Any) -> bool:
        mishap = self._world.mishap()
        if mishap.startswith("killed"):
            raise Killed
        if mishap == "store error":
            raise RuntimeError("the bucket is away")
        return key in self._notes and bool(target.write(self._notes[key]))

    def put(self, key: str, file: Any, **_: Any) -> None:
        self._notes[key] = file.read()

    def deliver(self, position: int, *, forged: bool = False) -> None:
        """A callback comes, the oldest or a later one, perhaps not for the last time; or one names another task."""
        if not self._world.undelivered:
            return
        self._world.mishaps = []
        external_task_id, kling_task_id = self._world.undelivered[position % len(self._world.undelivered)]
        if forged:
            kling_task_id = str(int(kling_task_id) - 1) if kling_task_id != "0" else "no-such-task"
        write_note(self, callback_name(external_task_id), kling_task_id)  # type: ignore[arg-type]


class Client:
    """The API as documented, with mishaps."""

    def __init__(self, world: World, unit: Any) -> None:
        self.world, self.unit = world, unit
        self.gateway = world.gateway

    def create(self, request: MultiImageToImageRequest, *, route: str) -> KlingTask:
        mishap = self.world.mishap()
        if mishap == "killed before":
            raise Killed
        if mishap == "refused":
            raise KlingRateLimitError("full", http_status=429, code="1303")
        if mishap == "not sent":
            raise KlingConnectionError("refused", request_sent=False)
        if mishap == "lost before":
            raise KlingConnectionError("reset", request_sent=True)
        refuses = self.gateway.refuses_duplicates
        if refuses and any(task.external_task_id == request.external_task_id for task in self.world.tasks):
            raise self._duplicate(mishap)
        task = self.world.create(request.external_task_id, self.unit)
        if mishap == "killed after":
            raise Killed
        if mishap == "lost after":
            raise KlingConnectionError("reset", request_sent=True)
        if mishap == "error after":
            raise KlingServerError("oops", http_status=500, code="5000")
        if refuses and mishap.startswith("sent twice"):
            raise self._duplicate(mishap)
        return task

    def _duplicate(self, mishap: str) -> Exception:
        """What the client sees of the second of two POSTs."""
        if mishap == "sent twice, full":
            return KlingRateLimitError("full", http_status=429, code="1303")
        said = "Invalid parameters" if mishap == "sent twice, unsaid" else "external_task_id 'x' already exists"
        return KlingBadRequestError(f'Kling answered: "{said}"', http_status=400, code="1201")

    def get(self, task_id: str, *, route: str) -> KlingTask:
        mishap = self.world.mishap()
        if mishap.startswith("killed"):
            raise Killed
        if mishap in ("lost before", "lost after"):
            raise KlingConnectionError("reset", request_sent=True)
        if mishap == "refused":
            raise KlingRateLimitError("too many requests", http_status=429, code="1302")
        for task in self.world.tasks:
            if task.kling_task_id == task_id or (self.gateway.finds_external_ids and task.external_task_id == task_id):
                return task.model_copy(update={"external_task_id": None}) if self.world.sparse else task
        raise KlingTaskNotFoundError("unknown", http_status=404, code="1203")

    def list(self, *, page: int, page_size: int, route: str) -> list[KlingTask]:
        if self.world.mishap() == "refused":
            raise KlingRateLimitError("too many requests", http_status=429, code="1302")
        newest_first = self.world.tasks[::-1]
        return newest_first[(page - 1) * page_size : page * page_size]


@dataclass
class Airflow:
    """A deployment with one task instance, whose run may be cleared, or deleted and made again under its id.

    :param layer: where its records are, one of LAYERS.
    :param notes: where a receiver notes callbacks.
    :param own_id: the author's ``external_task_id``: ``""``, a constant, or ``uuid`` for one that each try renders.
    """

    world: World
    name: str
    layer: str
    namespace: str = ""
    own_id: str = ""
    notes: Notes | None = None
    on_unknown: str = "fail"
    retries: int = RETRIES
    try_number: int = 0
    max_tries: int = RETRIES
    clears: int = 0
    started: float = 0.0
    made: int = 0
    state: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = self.world.clock()

    @property
    def unit(self) -> Any:
        return (self.name, self.made, self.max_tries)

    def clear(self) -> None:
        """A user clears the task of the finished run."""
        self.max_tries, self.clears = max(self.max_tries + 1, self.try_number + self.retries), self.clears + 1
        self.started = self.world.clock()

    def make_again(self) -> None:
        """A user deletes the run, and it is made again."""
        self.made, self.try_number, self.max_tries, self.clears = self.made + 1, 0, self.retries, 0
        self.started, self.state = self.world.clock(), {}

    def identity(self) -> Identity:
        base = {"uuid": f"hero-{uuid.uuid4().hex}", "": None}.get(self.own_id, self.own_id)
        run = SimpleNamespace(
            start_date=datetime.fromtimestamp(self.started, UTC),
            clear_number=self.clears,
            run_after=datetime.fromtimestamp(START, UTC),
        )
        ti = SimpleNamespace(
            dag_id="dag", run_id="scheduled__1", task_id="task", map_index=-1, max_tries=self.max_tries,
            try_number=self.try_number,
        )  # fmt: skip
        context: Any = {"ti": ti, "dag_run": run}
        made = Identity.of(context, retries=self.retries, base=base, deployment=self.namespace)
        assert made is not None
        return made

    def records(self, identity: Identity) -> RecordStore:
        if self.layer == "objects":
            return RecordStore(Objects(self.world, identity))
        return RecordStore(TaskState(Store(self.world, self.state, "")) if self.layer == "task state" else None)

    def run_try(self, **options: Any) -> KlingTask:
        """As the operator does: what Kling refuses for now is submitted again in the same try."""
        self.try_number += 1
        refused_attempt = None
        for _ in itertools.count():
            identity = self.identity()
            submission = Submission(
                client=Client(self.world, self.unit),  # type: ignore[arg-type]
                request=MultiImageToImageRequest(subject_images=["https://example.com/a.png"]),
                identity=identity,
                records=self.records(identity),
                notes=self.notes,  # type: ignore[arg-type]
                fingerprint=f"prompt of {self.name}",
                refused_attempt=refused_attempt,
                on_unknown=self.on_unknown,  # type: ignore[arg-type]
                clock=self.world.clock,
                **options,
            )
            try:
                return submission.run()
            except KlingRateLimitError:
                refused_attempt = submission.refused_attempt
        raise AssertionError("unreachable")
