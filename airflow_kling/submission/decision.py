"""Decides whether to submit, to adopt what is there, or to stop.

The POST is the only call that costs money. It is sent when it is certain that no generation of this attempt exists, or
where the account refuses a second one with the same ``external_task_id``. Every other step is free.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

from airflow_kling.api.tasks import FAILED


class Step(enum.Enum):
    """What to do next."""

    QUERY = "query the recorded task"
    FIND = "query the external_task_id"
    SEARCH = "search the account's list"
    POST = "submit"
    ADOPT = "take the generation that exists"
    NEXT_ATTEMPT = "the generation failed, start another"
    STOP = "nothing can decide"


@dataclass(frozen=True)
class Facts:
    """All that the decision depends on.

    :param lists: the gateway lists tasks.
    :param refuses_duplicates: the account refuses a second task with the same ``external_task_id``.
    :param may_exist: a POST of this attempt may have gone through.
    :param kling_task_id: the task that the submission record names.
    :param queried: the free steps taken since the last POST.
    :param status: of the generation that was found, None for none.
    :param posted: a POST of this try was refused as a ``duplicate``, or its outcome is ``unknown``.
    """

    lists: bool
    refuses_duplicates: bool
    may_exist: bool
    kling_task_id: str | None = None
    queried: frozenset[Step] = frozenset()
    status: str | None = None
    posted: Literal["duplicate", "unknown"] | None = None


def decide(facts: Facts) -> Step:
    """The next step."""
    if facts.status is not None:
        return Step.NEXT_ATTEMPT if facts.status == FAILED else Step.ADOPT
    if facts.kling_task_id is not None:
        return Step.STOP if Step.QUERY in facts.queried else Step.QUERY
    if not facts.may_exist:
        return Step.POST
    if Step.FIND not in facts.queried:
        return Step.FIND
    if facts.lists and Step.SEARCH not in facts.queried:
        return Step.SEARCH
    if facts.refuses_duplicates and facts.posted is None:
        return Step.POST
    return Step.STOP
