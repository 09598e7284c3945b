"""Waits while Kling refuses a submission for too many requests or parallel tasks, when nothing was created."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_kling.polling import schedule

if TYPE_CHECKING:
    from airflow_kling.exceptions import KlingError


class RefusalMixin:
    """An operator that submits; it goes on with ``resume_submission``."""

    if TYPE_CHECKING:
        log: Any
        defer: Any
        deferrable: bool

    def delay_after(self, error: KlingError, refusals: int, deadline: float) -> float:
        """Return the seconds until Kling may take the submission; raise the error where waiting is no answer to it."""
        from airflow_kling.api.retry import delay_after_refusal

        delay = delay_after_refusal(
            error, refusals, now=time.time(), deadline=deadline, random_fraction=random.random()
        )
        if delay is None:
            raise error
        self.log.info("%s Trying again in %.0f s.", error, delay)
        return delay

    def pause(self, delay: float, **state: Any) -> None:
        """Wait in the triggerer, from where ``resume_submission`` goes on, or here."""
        if not self.deferrable:
            time.sleep(delay)
            return
        from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

        pause = timedelta(seconds=max(delay, schedule.FIRST_POLL_AFTER_DEFERRAL))
        self.defer(trigger=TimeDeltaTrigger(pause), method_name="resume_submission", kwargs=state)
