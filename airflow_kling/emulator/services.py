"""Puts the parts of one emulator together."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_kling.emulator.accounts import Accounts
from airflow_kling.emulator.background import Background
from airflow_kling.emulator.billing import ledger
from airflow_kling.emulator.callbacks import Callbacks
from airflow_kling.emulator.clock import AdjustableClock
from airflow_kling.emulator.config import EmulatorConfig
from airflow_kling.emulator.faults.book import FaultBook
from airflow_kling.emulator.references import ReferenceStore
from airflow_kling.emulator.results import ResultFiles
from airflow_kling.emulator.serializers import Answers, UrlSigner
from airflow_kling.emulator.tasks import TaskStore


class World:
    """An emulator's state and all that works on it.

    :param config: its settings
    """

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        # One clock for all parts: a test moves tasks and URLs together.
        self.clock = AdjustableClock(config.clock)
        self.accounts = Accounts(config.accounts)
        self.store = TaskStore(config, self.clock)
        self.faults = FaultBook()
        self.references = ReferenceStore()
        self.results = ResultFiles(self.references, config.image_size, config.image_format)
        self.answers = Answers(UrlSigner(config.url_ttl, self.clock), self.results.suffix, self.clock)
        self.callbacks = Callbacks(self.answers, self.faults, config.webhook_secret)
        self.background = Background(self.store, self.references, self.callbacks)
        self.requests: Counter[str] = Counter()

    def ledger(self, *, tasks: bool = True) -> dict[str, Any]:
        """What was created and billed; without ``tasks`` only the totals."""
        return ledger(self.store, self.accounts.names(), self.requests, tasks=tasks)

    def reset(self) -> None:
        """Forget tasks, faults and counts; the clock keeps its time."""
        self.faults.clear()
        self.store.reset()
        self.requests.clear()
