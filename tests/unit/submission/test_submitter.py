"""One task instance's submission, case by case, against a model of the API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_kling.api.gateways import COMETAPI, OFFICIAL
from airflow_kling.exceptions import (
    KlingBadRequestError,
    KlingConnectionError,
    KlingError,
    KlingServerError,
    KlingSubmissionError,
)
from airflow_kling.submission.record import KEY
from tests.unit.submission.world import LAYERS, Airflow, Killed, World

KEEPING = ("task state", "objects")


def run(airflow: Airflow, *mishaps: str, **options: Any) -> Any:
    """One try: the Kling task id, or the error."""
    airflow.world.mishaps = list(mishaps)
    try:
        return airflow.run_try(**options).kling_task_id
    except (KlingError, Killed) as error:
        return error


def kept(airflow: Airflow) -> dict[str, Any]:
    import json

    [value] = (airflow.state or airflow.world.objects).values()
    record: dict[str, Any] = json.loads(value)
    return record


# --- two Airflows, one account ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gateway", [OFFICIAL, COMETAPI], ids=lambda gateway: gateway.name)
def test_the_same_run_of_two_airflows_makes_two_generations(gateway: Any, layer: str) -> None:
    world = World(gateway)
    assert [run(Airflow(world, name, layer)) for name in ("staging", "production")] == ["0", "1"]
    assert len({task.external_task_id for task in world.tasks}) == 2


@pytest.mark.parametrize("layer", LAYERS)
def test_a_server_error_does_not_make_another_airflows_generation_ours(layer: str) -> None:
    world = World(OFFICIAL)
    assert run(Airflow(world, "staging", layer)) == "0"
    production = Airflow(world, "production", layer)
    writes = ["none"] if layer != "none" else []
    assert isinstance(run(production, *writes, "lost before"), KlingSubmissionError)
    assert run(production) == "1"


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("own_id", ["", "daily-hero"])
def test_a_run_that_is_made_again_does_not_take_over_the_old_generation(layer: str, own_id: str) -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", layer, own_id=own_id)
    assert run(airflow) == "0"
    world.now += 5
    airflow.make_again()
    again = run(airflow)
    if not own_id:
        assert again == "1"
        return
    assert isinstance(again, KlingSubmissionError)
    assert "external_task_id 'daily-hero' is that of Kling task 0, created 2027-01-15T08:00:" in str(again)
    assert "Nothing was submitted now" in str(again)
    assert (again.retryable, again.kling_task_id) == (False, "0")


@pytest.mark.parametrize("layer", KEEPING)
@pytest.mark.parametrize("lost", ["lost before", "error after"])
def test_an_id_that_is_anothers_is_not_adopted_on_a_gateway_that_was_not_asked_before(layer: str, lost: str) -> None:
    """The id was used a day ago; this gateway finds it only now."""
    world = World(replace(OFFICIAL, finds_external_ids=False, has_list=False))
    world.units[world.create("daily-hero", None).kling_task_id] = None
    world.now += 86_400
    airflow = Airflow(world, "production", layer, own_id="daily-hero")
    assert isinstance(run(airflow, "none", "lost before"), KlingSubmissionError)
    world.gateway = OFFICIAL
    stopped = run(airflow)
    assert "is that of Kling task 0" in str(stopped)
    assert "this task submitted nothing before 2027-01-16" in str(stopped)
    assert len(world.tasks) == 1


def test_mapped_instances_with_one_id_do_not_adopt_each_others() -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", "task state", own_id="daily-hero")
    identity = replace(airflow.identity(), map_index=1)
    assert identity.mapped
    airflow.identity = lambda: identity  # type: ignore[method-assign]

    class Racing(list[str]):
        """Another instance submits between the question and the POST."""

        def pop(self, position: int = 0) -> str:  # type: ignore[override]
            mishap = super().pop(position)
            if mishap == "another":
                world.create("daily-hero", "another instance")
                return "lost before"
            return mishap

    world.mishaps = Racing(["none", "none", "another"])
    with pytest.raises(KlingSubmissionError, match="is that of Kling task 0") as caught:
        airflow.run_try()
    assert not caught.value.retryable
    assert len(world.tasks) == 1


# --- ids that render anew ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", KEEPING)
@pytest.mark.parametrize("mishap", ["killed after", "lost after", "error after"])
def test_recovery_asks_for_the_recorded_id_not_for_the_rendered_one(layer: str, mishap: str) -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", layer, own_id="uuid")
    run(airflow, "none", "none", mishap)
    sent = world.tasks[0].external_task_id
    assert run(airflow) == "0"
    assert kept(airflow)["external_task_id"] == sent


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("own_id", ["", "daily-hero"])
@pytest.mark.parametrize("gateway", [OFFICIAL, COMETAPI], ids=lambda gateway: gateway.name)
def test_lowered_retries_pay_once(gateway: Any, own_id: str, layer: str) -> None:
    world = World(gateway)
    airflow = Airflow(world, "production", layer, own_id=own_id)
    first = ["none"] if own_id and gateway is OFFICIAL else []
    writes = ["none"] if layer != "none" else []
    assert isinstance(run(airflow, *first, *writes, "killed after"), Killed)
    airflow.retries = 1
    outcome = run(airflow)
    assert len(world.tasks) == 1
    if gateway is OFFICIAL and (layer != "none" or not own_id):
        assert outcome == "0"
    else:
        assert world.tasks[0].external_task_id in str(outcome)


# --- POSTs sent twice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("mishap", ["sent twice", "sent twice, unsaid", "sent twice, full"])
def test_a_post_that_a_proxy_sent_twice_is_found(layer: str, mishap: str) -> None:
    world = World(OFFICIAL)
    writes = ["none"] if layer != "none" else []
    assert run(Airflow(world, "production", layer), *writes, mishap) == "0"
    assert len(world.tasks) == 1


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("mishap", ["sent twice", "sent twice, unsaid"])
def test_a_post_sent_twice_where_nobody_can_be_asked_is_named_and_not_recorded_as_refused(
    layer: str, mishap: str
) -> None:
    world = World(COMETAPI)
    airflow = Airflow(world, "production", layer)
    writes = ["none"] if layer != "none" else []
    error = run(airflow, *writes, mishap)
    assert isinstance(error, KlingError)
    assert f"a paid generation may exist under external_task_id {world.tasks[0].external_task_id!r}" in str(
        error
    ).replace("A paid", "a paid")
    assert not error.retryable
    if layer != "none":
        assert kept(airflow)["state"] == "intended"
    assert isinstance(run(airflow), KlingError)
    assert len(world.tasks) == 1


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gateway", [OFFICIAL, COMETAPI], ids=lambda gateway: gateway.name)
def test_an_error_that_names_the_task_is_asked_about(gateway: Any, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.submission.world import Client

    def fail(self: Client, request: Any, *, route: str) -> None:
        task = self.world.create(request.external_task_id, self.unit)
        raise KlingServerError("500", http_status=500, code="5000", kling_task_id=task.kling_task_id)

    monkeypatch.setattr(Client, "create", fail)
    world = World(gateway)
    airflow = Airflow(world, "production", layer)
    assert run(airflow) == "0"
    if layer != "none":
        assert (kept(airflow)["state"], kept(airflow)["kling_task_id"]) == ("submitted", "0")


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer != "none"])
def test_an_error_that_names_the_task_is_asked_about_also_when_it_cannot_be_recorded(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.submission.world import Client

    def fail(self: Client, request: Any, *, route: str) -> None:
        task = self.world.create(request.external_task_id, self.unit)
        raise KlingServerError("500", http_status=500, code="5000", kling_task_id=task.kling_task_id)

    monkeypatch.setattr(Client, "create", fail)
    world = World(COMETAPI)
    assert run(Airflow(world, "production", layer), "none", "store error") == "0"
    assert len(world.tasks) == 1


def test_an_error_that_names_no_task_of_ours_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.submission.world import Client

    def fail(*_: Any, **__: Any) -> None:
        raise KlingServerError("500", http_status=500, code="5000", kling_task_id="77")

    monkeypatch.setattr(Client, "create", fail)
    error = run(Airflow(World(OFFICIAL), "production", "task state"))
    assert isinstance(error, KlingSubmissionError)
    assert "Its answer named Kling task 77." in str(error)


@pytest.mark.parametrize(
    ("gateway", "said", "state"),
    [
        (OFFICIAL, "Invalid parameters", "refused"),
        (OFFICIAL, "model_name value 'x' is invalid", "refused"),
        (OFFICIAL, "external_task_id 'x' already exists", "intended"),
        (COMETAPI, "Invalid parameters", "intended"),
        (COMETAPI, "model_name value 'x' is invalid", "refused"),
        (COMETAPI, "external_task_id 'x' already exists", "intended"),
    ],
)
def test_what_a_first_refusal_proves(gateway: Any, said: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.submission.world import Client

    def refuse(*_: Any, **__: Any) -> None:
        error = KlingBadRequestError(f'Kling answered: "{said}"', http_status=400, code="1201")
        error.money = "Nothing was created."
        raise error

    monkeypatch.setattr(Client, "create", refuse)
    airflow = Airflow(World(gateway), "production", "task state")
    error = run(airflow)
    assert kept(airflow)["state"] == state
    assert said in str(error)
    assert ("may exist" in str(error)) == (state == "intended")
    assert ("Nothing was created." in str(error)) == (state == "refused")


# --- clears -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", KEEPING)
def test_a_clear_reuses_or_pays_as_it_is_told(layer: str) -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", layer)
    assert run(airflow) == "0"
    airflow.clear()
    assert run(airflow, on_clear="reuse") == "0"
    airflow.clear()
    assert run(airflow, on_clear="reuse") == "0"
    airflow.clear()
    assert run(airflow, on_clear="new") == "1"


@pytest.mark.parametrize("layer", LAYERS)
def test_reuse_with_the_record_gone_stops(layer: str) -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", layer)
    assert run(airflow) == "0"
    airflow.state.clear()
    world.objects.clear()
    airflow.clear()
    error = run(airflow, on_clear="reuse")
    assert isinstance(error, KlingSubmissionError)
    assert not error.retryable
    assert "Nothing was submitted now" in str(error)
    assert "on_clear='new' to pay for another" in str(error)
    assert ("clear_on_success" in str(error)) == (layer != "none")
    assert ("record_store" in str(error)) == (layer == "none")
    assert len(world.tasks) == 1


def test_reuse_before_any_clear_is_a_plain_submission() -> None:
    airflow = Airflow(World(OFFICIAL), "production", "task state")
    assert isinstance(run(airflow, "killed before", on_clear="reuse"), Killed)
    assert run(airflow, on_clear="reuse") == "0"


# --- the place of the record ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", KEEPING)
def test_without_its_record_nothing_is_submitted(layer: str) -> None:
    world = World(OFFICIAL)
    error = run(Airflow(world, "production", layer), "store error")
    assert isinstance(error, KlingSubmissionError)
    assert error.retryable
    assert "could not be written: RuntimeError: the API server of Airflow is away" in str(error)
    assert "Nothing is submitted without it" in str(error)
    assert not world.tasks


def test_an_input_that_changed_after_a_refusal_has_another_identity() -> None:
    """Were the refusal wrong, the generation of the old input would pass for that of the new one."""
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", "task state")
    assert isinstance(run(airflow, "none", "not sent"), KlingConnectionError)
    before = kept(airflow)["external_task_id"]
    airflow.name = "production, edited"
    assert run(airflow) == "0"
    assert world.tasks[0].external_task_id != before


def test_a_question_that_is_not_answered_names_the_money() -> None:
    world = World(OFFICIAL)
    airflow = Airflow(world, "production", "task state")
    run(airflow, "none", "killed after")
    error = run(airflow, "lost before")
    assert isinstance(error, KlingConnectionError)
    assert f"may exist under external_task_id {world.tasks[0].external_task_id!r}" in str(error)


def test_a_record_is_written_for_good() -> None:
    from airflow_kling.submission.record import TaskState

    sdk = pytest.importorskip("airflow.sdk")
    if not hasattr(sdk, "NEVER_EXPIRE"):
        pytest.skip("this Airflow has no task state store")
    given: dict[str, Any] = {}

    class State:
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            given[key] = retention

    TaskState(State()).write({})
    assert given == {KEY: sdk.NEVER_EXPIRE}
    assert given[KEY] is sdk.NEVER_EXPIRE
