"""Decides whether to submit, to adopt what is there, or to stop.

The POST is the only call that costs money. It is sent when it is certain that no generation of this attempt exists, or
where the account refuses a second one with the same ``external_task_id``. Every other step is free.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Literal

from airflow_kling.api.tasks import FAILED


class Step(enum.Enum):
    """What to do next."""

    QUERY = "query the recorded task"
    FIND = "query the external_task_id"
    SEARCH = "search the account's list"
    CALLBACK = "read what a callback has told"
    POST = "submit"
    ADOPT = "take the generation that exists"
    NEXT_ATTEMPT = "the generation failed, start another"
    REFUSE = "Kling's refusal stands, nothing was created"
    STOP = "nothing can decide"


@dataclass(frozen=True)
class Facts:
    """All that the decision depends on.

    :param finds: the gateway finds a task by its ``external_task_id``.
    :param lists: the gateway lists tasks.
    :param receives: a receiver notes the callbacks.
    :param refuses_duplicates: the account refuses a second task with the same ``external_task_id``.
    :param may_exist: a POST of this attempt may have gone through.
    :param given: the ``external_task_id`` is the author's text, which another generation may have already.
    :param kling_task_id: the task that the submission record names, or an answer to the POST that was no success.
    :param queried: the free steps taken since the last POST.
    :param status: of the generation that was found, None for none.
    :param ours: it is proven that what was found is this task's own.
    :param posted: what came of this try's POST: its outcome is ``unknown``; or it was refused as a ``duplicate``, for
        an ``other`` reason, or for one that is not said (``doubtful``).
    """

    lists: bool
    refuses_duplicates: bool
    may_exist: bool
    finds: bool = False
    receives: bool = False
    given: bool = False
    kling_task_id: str | None = None
    queried: frozenset[Step] = frozenset()
    status: str | None = None
    ours: bool = True
    posted: Literal["duplicate", "doubtful", "other", "unknown"] | None = None

    @property
    def can_be_asked(self) -> bool:
        """Whether a generation is found when it exists."""
        return self.finds or self.lists

    def of_next_attempt(self, *, may_exist: bool, given: bool) -> Facts:
        """Return the facts at the start of another attempt, of which nothing is known yet."""
        return replace(
            self,
            may_exist=may_exist,
            given=given,
            kling_task_id=None,
            queried=frozenset(),
            status=None,
            ours=True,
            posted=None,
        )


def decide(facts: Facts) -> Step:
    """The next step."""
    if facts.status is not None:
        if not facts.ours:
            return Step.STOP
        return Step.NEXT_ATTEMPT if facts.status == FAILED else Step.ADOPT
    if facts.kling_task_id is not None and Step.QUERY not in facts.queried:
        return Step.QUERY
    if not facts.may_exist and facts.kling_task_id is None:
        # What exists before the first POST is another's. Nobody else can have an identity that is not the author's.
        asked = not facts.given or not facts.can_be_asked or facts.queried
        return Step.POST if asked else Step.FIND if facts.finds else Step.SEARCH
    if facts.posted == "other" and not facts.can_be_asked:
        return Step.REFUSE
    for question in _questions(facts):
        if question not in facts.queried:
            return question
    if facts.posted in ("other", "doubtful") and facts.can_be_asked:
        return Step.REFUSE
    if facts.posted is None and facts.refuses_duplicates and facts.kling_task_id is None:
        return Step.POST
    return Step.STOP


def _questions(facts: Facts) -> tuple[Step, ...]:
    """What can be asked for free, in order."""
    asks = (Step.FIND, Step.SEARCH) if facts.lists else (Step.FIND,)
    return (*asks, Step.CALLBACK) if facts.receives else asks
