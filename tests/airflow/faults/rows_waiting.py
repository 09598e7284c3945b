"""Lists rows about waiting: broken by the worker, the triggerer, Airflow's core, and its users."""

from __future__ import annotations

from collections.abc import Iterator

from tests.airflow.faults import actions
from tests.airflow.faults.model import End, Fields, Row
from tests.airflow.faults.rows_submission import (
    ADOPTED,
    HOLD,
    LOST,
    NOT_YET,
    ON_WORKER,
    PAID_ONCE,
    TAKEN_OVER,
    UNFINISHED,
)

APART = {"submit": "success", "wait": "success", "archive": "success"}
RUNS_ON = r"No longer waiting for Kling task {id}. Kling has no cancel call: the generation runs on and is billed"
WAIT = 180.0


def on_airflow_3() -> Iterator[Row]:
    """All rows about waiting."""
    yield from _workers()
    yield from _triggerers()
    yield from _users()
    yield from _answers()


def _workers() -> Iterator[Row]:
    killed: Fields = {"task": "generate", "point": "resume"}
    once: Fields = {"faults": (UNFINISHED,), "action": actions.end_when_the_deferral_is_heard}
    yield Row("event sent, killed when it resumes", TAKEN_OVER, kills=(killed,), short=True, **once)
    yield Row("resumed and polled, killed with no XCom", TAKEN_OVER, kills=({**killed, "when": "after"},), **once)
    yield Row("killed with its result in hand", TAKEN_OVER, kills=({**killed, "point": "returned"},), **once)
    yield Row(
        "sensor killed when it resumes", End(1, 2, APART), dag="apart", kills=({**killed, "task": "wait"},), **once
    )
    yield Row(
        "killed while it waits on the worker",
        TAKEN_OVER,
        faults=({**NOT_YET, "times": 2},),
        kills=({**killed, "point": "poll", "nth": 2, "when": "after"},),
        options=ON_WORKER,
    )
    yield Row(
        "failed by Airflow's core (state mismatch), retried",
        End(1, 2, says=(ADOPTED,), event="state mismatch"),
        faults=(HOLD, NOT_YET),
        action=actions.have_the_core_fail_it,
        exclusive=True,
        short=True,
    )


def _triggerers() -> Iterator[Row]:
    unfinished: Fields = {"faults": (UNFINISHED,), "own_triggerer": True}
    restarted: Fields = {"action": actions.restart_triggerer, **unfinished}
    yield Row("triggerer SIGKILLed and restarted", PAID_ONCE, short=True, **restarted)
    yield Row("triggerer SIGKILLed and restarted, sensor", End(1, 2, APART), dag="apart", **restarted)
    yield Row(
        "triggerer SIGKILLed, the deadline stays",
        End(
            1,
            0,
            LOST,
            says=(r"Kling task {id} is not finished after 180 s", r"running on and will be billed"),
            timeout=WAIT,
        ),
        options={"generate": {"timeout": WAIT}},
        action=actions.restart_triggerer_of_an_endless_wait,
        **unfinished,
    )
    twice = End(1, 2, says=(r"(?s)Trigger fired event.*Trigger fired event",))
    yield Row("two triggerers run the same trigger, both fire", twice, action=actions.run_trigger_twice, **unfinished)


def _users() -> Iterator[Row]:
    unfinished: Fields = {"faults": (UNFINISHED,)}
    cleared: Fields = {"action": actions.clear_while_deferred, **unfinished}
    yield Row(
        "user clears the waiting task",
        End(2, 2, says=(RUNS_ON, r"its generation before that \(Kling task {id}, .*cannot be cancelled and is billed")),
        short=True,
        **cleared,
    )
    yield Row(
        "user clears it, on_clear='reuse'",
        End(1, 2, says=(RUNS_ON, ADOPTED)),
        options={"generate": {"on_clear": "reuse"}},
        **cleared,
    )
    yield Row("user clears the waiting sensor", End(1, 2, APART, says=(RUNS_ON,)), dag="apart", **cleared)
    yield Row(
        "user marks the waiting task failed",
        End(1, 0, LOST, says=(RUNS_ON,)),
        action=actions.mark_failed_while_deferred,
        **unfinished,
    )
    yield Row(
        "user marks it failed while it waits on the worker",
        End(1, 0, LOST, says=(RUNS_ON,)),
        options=ON_WORKER,
        action=actions.mark_failed_while_waiting_on_a_worker,
        **unfinished,
    )


def _answers() -> Iterator[Row]:
    query: Fields = {"on": "query", "times": 3}
    faults: dict[str, Fields] = {
        "connection dropped": {"action": "drop"},
        "500": {"action": "error", "code": 5000},
        "HTML": {"action": "html", "status": 200},
        "429 with Retry-After": {"action": "error", "code": 1302, "retry_after": 3},
    }
    for name, fault in faults.items():
        yield Row(f"{name} three times while it waits", PAID_ONCE, faults=({**query, **fault},))
