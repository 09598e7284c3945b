"""Lists rows about submission: kills from the intent to the XCom, lost and bad answers of the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.airflow.faults import actions
from tests.airflow.faults.model import AIRFLOW_2, End, Fields, Row

GATEWAYS = ("cometapi", "official")
LOST = {"generate": "failed", "archive": "upstream_failed"}
ADOPTED = r"Adopted Kling task {id}"
MONEY = (r"KlingSubmissionError", r"A paid generation may exist under external_task_id")
HOLD: Fields = {"on": "create", "action": "hold", "point": "after", "times": 1}
# The first poll finds the generation unfinished, however late it comes: so there is a wait.
UNFINISHED: Fields = {"on": "query", "action": "unknown_status", "task_status": "processing"}
NOT_YET: Fields = {**UNFINISHED, "times": 1}
ON_WORKER = {"generate": {"deferrable": False, "poke_interval": 1.0}}

PAID_ONCE = End(1, 2)
TAKEN_OVER = End(1, 2, says=(ADOPTED,))
# CometAPI cannot be asked by external_task_id: what was paid for is named, and nothing is paid again.
LOUD_FAILURE = End(1, 0, LOST, says=MONEY)


def answer_lost(gateway: str) -> End:
    """How it ends where a generation was paid for and its id is not known."""
    return TAKEN_OVER if gateway == "official" else LOUD_FAILURE


def on_airflow_3() -> Iterator[Row]:
    """Rows with a ledger."""
    for gateway in GATEWAYS:
        yield from (Row(gateway=gateway, **fields) for fields in (*_killed(gateway), *_answers(gateway)))
        yield from (Row(gateway=gateway, **fields) for fields in _of_others())
    yield from (Row(**fields) for fields in _with_receiver())
    yield from _options()


def of_route(route: str, *, results: int, short: str = "") -> Iterator[Row]:
    """The rows of one try after another for another route.

    :param results: how many results a generation has at most.
    :param short: name of the row that is part of ``make test``, on the official gateway.
    """
    for gateway in GATEWAYS:
        for fields in (*_killed(gateway), *_answers(gateway)):
            end = replace(fields["end"], images=min(fields["end"].images, results))
            in_short = gateway == "official" and fields["name"] == short
            yield Row(gateway=gateway, route=route, **{**fields, "end": end, "n": min(2, results), "short": in_short})


def _with_receiver() -> Iterator[Fields]:
    """CometAPI cannot be asked by external_task_id, but a callback tells what the lost answer said."""
    once: Fields = {"on": "create", "times": 1}
    lost: list[Fields] = [
        {"name": "killed with the POST sent, no answer yet", "faults": [HOLD], "action": actions.kill_while_held},
        {"name": "killed with the answer read, not recorded", "kills": [_kill("create", "after")]},
        {"name": "500 after it was created", "faults": [{**once, "action": "error_after", "code": 5000}]},
        {"name": "connection dropped after it was created", "faults": [{**once, "action": "drop_after"}]},
    ]
    for fields in lost:
        for account in ("strict", "lenient"):
            yield {
                **fields,
                "name": f"{fields['name']}, receiver",
                "end": TAKEN_OVER,
                "account": account,
                "receiver": True,
            }


def _of_others() -> Iterator[Fields]:
    """Names that repeat: the same run in another Airflow, and the same run again."""
    twice = End(2, 4)
    for records in (False, True):
        more: Fields = {"end": twice, "records": records}
        kept = ", record store" if records else ""
        yield {"name": f"run deleted and made again{kept}", "action": actions.make_the_run_again, **more}
        yield {
            "name": f"the same run in another Airflow{kept}",
            "action": actions.run_it_in_another_airflow,
            "exclusive": True,
            **more,
        }


def _killed(gateway: str) -> Iterator[Fields]:
    lost = answer_lost(gateway)
    yield {
        "name": "killed before the intent is recorded",
        "end": PAID_ONCE,
        "kills": [_kill("record intent", "before")],
    }
    yield {
        "name": "killed before the POST",
        "end": PAID_ONCE,
        "kills": [_kill("create", "before")],
        "short": gateway == "cometapi",
    }
    yield {
        "name": "killed with the POST sent, no answer yet",
        "end": lost,
        "faults": [HOLD],
        "action": actions.kill_while_held,
        "short": True,
    }
    yield {"name": "killed with the answer read, not recorded", "end": lost, "kills": [_kill("create", "after")]}
    yield {
        "name": "killed with the id recorded, XCom not",
        "end": TAKEN_OVER,
        "kills": [_kill("record id", "after")],
        "short": gateway == "cometapi",
    }
    yield {"name": "killed between two XComs", "end": TAKEN_OVER, "kills": [_kill("xcom", "after")]}
    yield {
        "name": "worker lost with all its processes, id recorded",
        "end": TAKEN_OVER,
        "kills": [{**_kill("record id", "after"), "whom": "worker"}],
    }
    yield {
        "name": "killed four times: intent, POST, id, XCom",
        "end": TAKEN_OVER,
        "kills": [
            _kill("record intent", "after"),
            _kill("create", "before"),
            _kill("record id", "after"),
            _kill("xcom", "before"),
        ],
    }


def _answers(gateway: str) -> Iterator[Fields]:
    lost = answer_lost(gateway)
    once: Fields = {"on": "create", "times": 1}
    yield {"name": "500 after it was created", "end": lost, "faults": [{**once, "action": "error_after", "code": 5000}]}
    yield {
        "name": "connection dropped after it was created",
        "end": lost,
        "faults": [{**once, "action": "drop_after"}],
        "short": gateway == "official",
    }
    yield {"name": "500, nothing created", "end": PAID_ONCE, "faults": [{**once, "action": "error", "code": 5000}]}
    yield {"name": "connection dropped, nothing created", "end": PAID_ONCE, "faults": [{**once, "action": "drop"}]}
    yield {"name": "503 maintenance (5001)", "end": PAID_ONCE, "faults": [{**once, "action": "error", "code": 5001}]}
    yield {"name": "HTML instead of an answer", "end": PAID_ONCE, "faults": [{**once, "action": "html"}]}
    yield {
        "name": "no free slot (1303), no worker held",
        "end": PAID_ONCE,
        "faults": [{"on": "create", "action": "error", "code": 1303}],
        "action": actions.wait_until_worker_is_free,
    }
    yield {
        "name": "generation failed at Kling",
        "end": PAID_ONCE,
        "faults": [{**once, "action": "fail_task", "message": "Internal error"}],
    }


def _options() -> Iterator[Row]:
    held: Fields = {"faults": (HOLD,), "action": actions.kill_while_held}
    yield Row(
        "no answer, on_unknown='resubmit'",
        End(2, 2, says=(r"Nothing can tell whether .* was generated; submitting another",)),
        options={"generate": {"on_unknown": "resubmit"}},
        **held,
    )
    yield Row("no answer, account takes an id twice", TAKEN_OVER, gateway="official", account="lenient", **held)
    # Not guaranteed: see docs/reliability.md.
    yield Row("no answer, account takes an id twice", End(2, 2), account="lenient", **held)
    edited: Fields = {"kills": (_kill("record id", "after"),), "edits": {"generate": {"prompt": "another prompt"}}}
    yield Row(
        "input edited between two tries",
        End(1, 0, LOST, says=(r"The input has changed since an earlier try", r"as Kling task {id}, will be billed")),
        **edited,
    )


def on_airflow_2() -> Iterator[Row]:
    """Rows without a ledger: the identity alone carries recovery."""
    for gateway in GATEWAYS:
        for fields in _killed_without_ledger(gateway):
            yield Row(**{"gateway": gateway, "line": AIRFLOW_2, "options": ON_WORKER, **fields})
        for fields in _with_record_store(gateway):
            name = f"{fields['name']}, record store"
            given = {"gateway": gateway, "line": AIRFLOW_2, "options": ON_WORKER, "records": True, **fields}
            yield Row(**{**given, "name": name})
        if gateway == "cometapi":
            yield from (Row(line=AIRFLOW_2, options=ON_WORKER, **fields) for fields in _with_receiver())
        again: Fields = {"name": "run deleted and made again", "action": actions.make_the_run_again, "end": End(2, 4)}
        yield Row(gateway=gateway, line=AIRFLOW_2, **again)


def _with_record_store(gateway: str) -> Iterator[Fields]:
    """The rows without a record as they end with one: as on Airflow 3.3."""
    known = ("killed between two XComs", "killed while it waits on the worker")
    for fields in _killed_without_ledger(gateway):
        yield {**fields, "end": TAKEN_OVER} if fields["name"] in known else fields
    yield {
        "name": "killed before the intent is recorded",
        "end": PAID_ONCE,
        "kills": [_kill("record intent", "before")],
    }
    yield {
        "name": "killed with the id recorded, XCom not",
        "end": TAKEN_OVER,
        "kills": [_kill("record id", "after")],
    }
    yield {"name": "run deleted and made again", "action": actions.make_the_run_again, "end": End(2, 4)}
    yield {
        "name": "user clears it, on_clear='reuse'",
        "end": TAKEN_OVER,
        "faults": [UNFINISHED],
        "options": {"generate": {"on_clear": "reuse"}},
        "action": actions.clear_while_deferred,
    }


def _killed_without_ledger(gateway: str) -> Iterator[Fields]:
    lost = answer_lost(gateway)
    once: Fields = {"on": "create", "times": 1}
    yield {"name": "killed before the POST", "end": PAID_ONCE, "kills": [_kill("create", "before")]}
    yield {
        "name": "killed with the POST sent, no answer yet",
        "end": lost,
        "faults": [HOLD],
        "action": actions.kill_while_held,
    }
    yield {"name": "killed with the answer read, XCom not", "end": lost, "kills": [_kill("create", "after")]}
    yield {"name": "killed between two XComs", "end": lost, "kills": [_kill("xcom", "after")]}
    yield {
        "name": "killed while it waits on the worker",
        "end": lost,
        "faults": [{**NOT_YET, "times": 2}],
        "kills": [{**_kill("poll", "after"), "nth": 2}],
    }
    yield {"name": "500 after it was created", "end": lost, "faults": [{**once, "action": "error_after", "code": 5000}]}
    yield {
        "name": "connection dropped after it was created",
        "end": lost,
        "faults": [{**once, "action": "drop_after"}],
    }
    yield {"name": "500, nothing created", "end": PAID_ONCE, "faults": [{**once, "action": "error", "code": 5000}]}
    yield {"name": "503 maintenance (5001)", "end": PAID_ONCE, "faults": [{**once, "action": "error", "code": 5001}]}
    yield {
        "name": "no free slot (1303), deferred",
        "end": PAID_ONCE,
        "faults": [{"on": "create", "action": "error", "code": 1303}],
        "options": {},
        "action": actions.wait_until_worker_is_free,
    }
    yield {
        "name": "user clears the waiting task",
        "end": End(2, 2),
        "faults": [UNFINISHED],
        "options": {},
        "action": actions.clear_while_deferred,
    }
    yield {
        "name": "sensor killed when it resumes",
        "dag": "apart",
        "end": End(1, 2, {"submit": "success", "wait": "success", "archive": "success"}),
        "options": {},
        "faults": [UNFINISHED],
        "action": actions.end_when_the_deferral_is_heard,
        "kills": [{"task": "wait", "point": "resume"}],
    }


def _kill(point: str, when: str) -> dict[str, str]:
    return {"task": "generate", "point": point, "when": when}
