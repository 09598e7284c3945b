"""What may be repeated and when; whether an error proves that nothing was created."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api import retry
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAuthenticationError,
    KlingBadRequestError,
    KlingConnectionError,
    KlingContentRejectedError,
    KlingError,
    KlingInputError,
    KlingPermissionError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)

REFUSED = KlingConnectionError("refused", request_sent=False)
LOST = KlingConnectionError("reset", request_sent=True)
LIMIT = KlingRateLimitError("1303", http_status=429, code="1303")
BROKEN = KlingServerError("500", http_status=500, code="5000")
MAINTENANCE = KlingServerError("503", http_status=503, code="5001")

CREATED = [
    (REFUSED, True),
    (LOST, False),
    (BROKEN, False),
    (KlingServerError("504", http_status=504, code="5002"), False),
    (KlingServerError("page", http_status=200), False),
    (KlingServerError("524", http_status=524), False),
    (KlingServerError("503 without a code", http_status=503), False),
    (MAINTENANCE, True),
    (LIMIT, True),
    (KlingRateLimitError("1302", http_status=429, code="1302"), True),
    (KlingAuthenticationError("401", http_status=401), True),
    (KlingPermissionError("403", http_status=403), True),
    (KlingAccountError("1101", http_status=429, code="1101"), True),
    (KlingBadRequestError("1201", http_status=400, code="1201"), True),
    (KlingContentRejectedError("1301", http_status=400, code="1301"), True),
    (KlingTaskNotFoundError("1203", http_status=404, code="1203"), True),
]


@pytest.mark.parametrize(("error", "certain"), CREATED, ids=[str(error) for error, _ in CREATED])
def test_nothing_was_created(error: KlingError, certain: bool) -> None:
    assert retry.nothing_was_created(error) is certain


def test_an_error_of_an_unknown_kind_proves_nothing() -> None:
    assert not retry.nothing_was_created(KlingError("?"))


def delay(
    error: KlingError, attempt: int = 1, *, creates: bool = False, left: float = 1e9, random_fraction: float = 0.5
) -> float | None:
    return retry.delay_before_repeat(
        error, attempt, creates=creates, now=1000.0, deadline=1000.0 + left, random_fraction=random_fraction
    )


@pytest.mark.parametrize("error", [REFUSED, LOST, LIMIT, BROKEN, MAINTENANCE], ids=str)
def test_free_calls_are_repeated_on_passing_errors(error: KlingError) -> None:
    assert delay(error) is not None


FINAL = [KlingInputError("a"), KlingAccountError("b"), KlingAuthenticationError("c"), KlingTaskNotFoundError("d")]


@pytest.mark.parametrize("error", FINAL, ids=str)
@pytest.mark.parametrize("creates", [True, False])
def test_nothing_is_repeated_on_final_errors(error: KlingError, creates: bool) -> None:
    assert delay(error, creates=creates) is None


@pytest.mark.parametrize(
    ("error", "repeated"), [(REFUSED, True), (LOST, False), (LIMIT, False), (BROKEN, False), (MAINTENANCE, False)]
)
def test_the_paid_call_is_repeated_only_when_it_never_left(error: KlingError, repeated: bool) -> None:
    assert (delay(error, creates=True) is not None) is repeated


def test_number_of_tries_is_limited() -> None:
    assert [delay(BROKEN, attempt) is not None for attempt in range(1, 7)] == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("attempt", "random_fraction", "seconds"),
    [(1, 0.0, 1), (1, 0.5, 1.5), (2, 0.5, 2), (3, 0.5, 3), (4, 0.999, 8.992), (9, 0.9, 60)],
)
def test_backoff(attempt: int, random_fraction: float, seconds: float) -> None:
    assert retry.backoff(BROKEN, attempt, random_fraction=random_fraction) == pytest.approx(seconds)


errors = st.one_of(
    st.just(LOST),
    st.builds(lambda after: KlingRateLimitError("m", retry_after=after), st.none() | st.floats(0, 1e9)),
    st.builds(lambda after: KlingServerError("m", retry_after=after), st.none() | st.floats(0, 1e9)),
)
fractions = st.floats(0, 1, exclude_max=True)


@given(error=errors, attempt=st.integers(1, 10_000), random_fraction=fractions)
def test_backoff_stays_within_its_bounds(error: KlingError, attempt: int, random_fraction: float) -> None:
    seconds = retry.backoff(error, attempt, random_fraction=random_fraction)
    asked = getattr(error, "retry_after", None) or 0.0
    assert min(retry.MAX_DELAY, max(retry.BASE_DELAY, asked)) <= seconds <= retry.MAX_DELAY


@given(attempt=st.integers(1, 5), low=fractions, high=fractions)
def test_jitter_spreads_the_tries(attempt: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert retry.backoff(BROKEN, attempt, random_fraction=low) <= retry.backoff(BROKEN, attempt, random_fraction=high)
    assert retry.backoff(BROKEN, attempt, random_fraction=0.0) < retry.backoff(BROKEN, attempt, random_fraction=0.9)


@given(
    error=errors,
    attempt=st.integers(1, 5),
    now=st.floats(0, 2e9),
    deadline=st.floats(0, 2e9) | st.just(float("inf")),
    random_fraction=fractions,
    creates=st.booleans(),
)
def test_deadline_is_never_slept_past(
    error: KlingError, attempt: int, now: float, deadline: float, random_fraction: float, creates: bool
) -> None:
    seconds = retry.delay_before_repeat(
        error, attempt, creates=creates, now=now, deadline=deadline, random_fraction=random_fraction
    )
    assert seconds is None or now + seconds < deadline


def test_passed_deadline_ends_the_tries() -> None:
    assert delay(BROKEN, left=0) is None
    assert delay(BROKEN, left=1.0, random_fraction=0.0) is None
    assert delay(BROKEN, left=1.1, random_fraction=0.0) == 1.0


@pytest.mark.parametrize(("asked", "seconds"), [(None, 1.0), (0.0, 1.0), (0.2, 1.0), (7.0, 7.0), (86_400.0, 60.0)])
def test_retry_after_is_kept_to_and_capped(asked: float | None, seconds: float) -> None:
    assert delay(KlingRateLimitError("m", retry_after=asked), random_fraction=0.0) == seconds
