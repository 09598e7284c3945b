"""Lists rows about one task that submits, waits and archives: broken before the wait, and while it archives."""

from __future__ import annotations

from collections.abc import Iterator

from tests.airflow.faults import actions
from tests.airflow.faults.model import AIRFLOW_2, AIRFLOW_3, End, Fields, Row
from tests.airflow.faults.rows_submission import ADOPTED, UNFINISHED

N = 2
ONE_TASK = {"generate": "success"}
# A retry says that it has adopted the generation: it has submitted nothing.
ARCHIVED_BY_A_RETRY = End(1, N, ONE_TASK, says=(ADOPTED,))
REFUSED = End(1, N, ONE_TASK, says=(actions.REFUSED_BY_THE_STORAGE, ADOPTED))


def on_airflow_3() -> Iterator[Row]:
    """All rows of one task; it archives when it resumes from its wait."""
    yield from _rows(AIRFLOW_3)


def on_airflow_2() -> Iterator[Row]:
    """The same where the record of the submission lies beside the archive."""
    yield from _rows(AIRFLOW_2)


def _rows(line: str) -> Iterator[Row]:
    for fields in (_killed_before_the_wait(), *_killed_while_it_archives(), _refused_by_the_storage()):
        yield Row(**{"end": ARCHIVED_BY_A_RETRY, "line": line, "dag": "compact", "n": N, **fields})


def _killed_before_the_wait() -> Fields:
    kill = {"task": "generate", "point": "record id", "when": "after"}
    return {"name": "compact: killed with the id recorded, not deferred", "kills": (kill,), "short": True}


def _killed_while_it_archives() -> Iterator[Fields]:
    kills: dict[str, Fields] = {
        "killed when it resumed, before writing image 1": {"point": "write", "nth": 1},
        "killed before writing the manifest": {"point": "write", "nth": N + 1},
        "worker lost with all its processes while it archives": {"point": "publish", "nth": N, "whom": "worker"},
    }
    for name, kill in kills.items():
        yield {
            "name": f"compact: {name}",
            "faults": (UNFINISHED,),
            "action": actions.end_when_the_deferral_is_heard,
            "kills": ({"task": "generate", **kill},),
            "short": name == "killed before writing the manifest",
        }


def _refused_by_the_storage() -> Fields:
    return {
        "name": "compact: the storage refuses to write",
        "end": REFUSED,
        "faults": (UNFINISHED,),
        "action": actions.refuse_to_write,
    }
