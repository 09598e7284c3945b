"""The page over HTTP: what it lists, how it is filtered, and what it costs the database."""

from __future__ import annotations

import gc
import html
import json
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.integration.plugins.gallery.seed import Generation, Pictures, many_runs, one_run, seed
from tests.integration.plugins.gallery.world import Gallery, Left

Leave = Callable[..., Left]


def shown(page: httpx.Response) -> list[str]:
    assert page.status_code == 200, page.text
    return re.findall(r'data-kling="([^"]*)"', page.text)


def card_of(page: httpx.Response, left: Left) -> str:
    found = re.search(rf'<article[^>]*data-kling="{left.generation.kling_task_id}".*?</article>', page.text, re.DOTALL)
    assert found
    return html.unescape(found[0])


def state_of(admin: httpx.Client, left: Left) -> str:
    one = left.generation
    states = admin.get("/kling/states", params={"id": one.kling_task_id}).json()
    return str(states[one.name])


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that the gallery sends; Airflow's own, who the user is and which DAGs there are, is left out."""
    from airflow import settings
    from sqlalchemy import event

    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if " xcom" in statement or "task_instance" in statement:
            sent.append(statement)

    event.listen(settings.engine, "before_cursor_execute", note)
    yield sent
    event.remove(settings.engine, "before_cursor_execute", note)


def test_card_says_what_there_is_to_say(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.archive(gallery.pictures)
    card = card_of(admin.get("/kling/gallery"), one)
    generation = one.generation
    assert f"{generation.number}: " in card
    assert "kling-v2" in card
    assert "2 units" in card
    assert re.search(r"<dd>\d\d s</dd>", card)
    assert f"../dags/open/runs/{generation.run_id}/tasks/archive" in card
    assert f'data-copy="file://{gallery.folder}/archive/{generation.kling_task_id}/manifest.json"' in card
    assert card.count('<img src="dags/open/image?') == 2
    assert card.count('<img src="dags/open/reference?') == 1
    assert card.count('href="https://example.com/room.png"') == 1
    assert card.count('loading="lazy"') == 3


@pytest.mark.parametrize(
    ("state", "run_state", "shown_as"),
    [
        ("deferred", "running", "running"),
        ("up_for_retry", "running", "retrying"),
        ("failed", "failed", "failed"),
        ("success", "success", "archived"),
    ],
)
def test_a_generation_of_one_task(
    state: str, run_state: str, shown_as: str, gallery: Gallery, admin: httpx.Client, left: Leave
) -> None:
    operators = {"generate": "KlingMultiImageToImageOperator"}
    one = left(states={"generate": state}, run_state=run_state, operators=operators)
    one.request(gallery.pictures, task_id="generate")
    if shown_as == "archived":
        one.archive(gallery.pictures, task_id="generate")
    assert state_of(admin, one) == shown_as
    card = card_of(admin.get("/kling/gallery"), one)
    assert f"../dags/open/runs/{one.generation.run_id}/tasks/generate" in card
    assert card.count('<img src="dags/open/image?') == (2 if shown_as == "archived" else 0)
    assert len(re.findall(rf'data-kling="{one.generation.kling_task_id}"', admin.get("/kling/gallery").text)) == 1


def test_pages_follow_each_other_without_gap_or_repetition(admin: httpx.Client) -> None:
    pages = [
        shown(admin.get("/kling/gallery", params={"dag_id": "open", "until": "2027-01-01", "page": n}))
        for n in (1, 2, 3, 4)
    ]
    assert [len(page) for page in pages] == [50, 50, 20, 0]
    everything = [one for page in pages for one in page]
    assert everything == sorted(set(everything), reverse=True)


def test_filters(gallery: Gallery, admin: httpx.Client) -> None:
    def found(**query: Any) -> list[str]:
        return shown(admin.get("/kling/gallery", params={"until": "2027-01-01", **query}))

    one = gallery.open_one
    assert found(kling_task_id=one.kling_task_id) == [one.kling_task_id]
    assert found(dag_id="open", run_id=one.run_id) == [one.kling_task_id]
    assert found(q=f"{one.number}: ") == [one.kling_task_id]
    assert found(q="SOFT SHADOWS") != []
    assert found(q="%", dag_id="open") == []
    assert found(q="_", dag_id="open") == []
    assert found(q="a café") != []
    assert found(run_id="no-such-run") == []
    # 120 generations a minute apart, from 06:00.
    assert len(found(dag_id="open", since="2026-01-01T07:00", until="2026-01-01T07:09:59")) == 10
    assert len(found(dag_id="open", since="2026-01-01", until="2026-01-01")) == 50
    assert found(dag_id="open", since="2026-01-02") == []


def test_run_whose_plus_airflow_does_not_encode(gallery: Gallery, admin: httpx.Client) -> None:
    from airflow.utils.session import create_session

    one = Generation(810_000, "plus", "manual__2026-01-01T00:00:00+00:00")
    with create_session(scoped=False) as session:
        seed(session, [one], gallery.pictures)
    for run_id in (one.run_id, quote(one.run_id, safe="")):
        tab = f"/kling/gallery?dag_id=plus&run_id={run_id}"
        for address in (tab, f"{tab}&task_id=wait&map_index={{MAP_INDEX}}"):
            page = admin.get(address)
            assert shown(page) == [one.kling_task_id]
            assert "This run</a>" not in page.text  # it is the one that is shown


def test_page_beyond_the_end_leads_to_the_last(admin: httpx.Client) -> None:
    for query, last in (("dag_id=open&until=2027-01-01&page=9", 3), ("page=100000", None)):
        page = admin.get(f"/kling/gallery?{query}").text
        assert "There is no page" in page
        assert "No pictures yet" not in page
        assert "Nothing matches" not in page
        assert 'class="pager"' not in page
        assert last is None or f"page={last}" in page


def test_task_is_looked_for_in_all_runs_and_dags_that_are_not_named(gallery: Gallery, admin: httpx.Client) -> None:
    one = gallery.open_one
    named = {"dag_id": "open", "run_id": one.run_id}
    for name in named:
        query = {key: "" if key == name else value for key, value in named.items()}
        page = admin.get("/kling/gallery", params={**query, "task_id": "wait", "kling_task_id": one.kling_task_id})
        assert shown(page) == [one.kling_task_id]
    assert len(shown(admin.get("/kling/gallery?task_id=wait&until=2027-01-01"))) == 50
    assert shown(admin.get("/kling/gallery?task_id=no_such_task")) == []


def test_date_that_is_none_is_told(admin: httpx.Client) -> None:
    page = admin.get("/kling/gallery?since=yesterday")
    assert "“yesterday” is not a date" in page.text
    assert len(shown(page)) == 50


def test_tab_of_a_task_instance_that_is_not_mapped(gallery: Gallery, admin: httpx.Client) -> None:
    one = gallery.open_one
    query = {"dag_id": "open", "run_id": one.run_id, "map_index": "{MAP_INDEX}"}
    for task_id in ("submit", "wait", "archive"):
        assert shown(admin.get("/kling/gallery", params={**query, "task_id": task_id})) == [one.kling_task_id]
    page = admin.get("/kling/gallery", params={**query, "task_id": "something_else"})
    assert shown(page) == []
    assert "Nothing matches" in page.text


def test_tab_of_a_mapped_task_instance(gallery: Gallery, admin: httpx.Client) -> None:
    from airflow.utils.session import create_session

    mapped = one_run(3, "mapped")
    with create_session(scoped=False) as session:
        seed(session, mapped, gallery.pictures)
    query = {"dag_id": "mapped", "run_id": "manual__all", "task_id": "wait"}
    assert shown(admin.get("/kling/gallery", params={**query, "map_index": 1})) == [mapped[1].kling_task_id]
    assert len(shown(admin.get("/kling/gallery", params=query))) == 3


@pytest.mark.parametrize(
    ("states", "run_state", "expected"),
    [
        ({"submit": "running"}, "running", "running"),
        ({"submit": "deferred"}, "running", "running"),
        ({"submit": "up_for_retry"}, "running", "retrying"),
        ({"submit": "failed"}, "running", "failed"),
        ({"submit": "success", "wait": "deferred", "archive": None}, "running", "running"),
        ({"submit": "success", "wait": "success", "archive": "up_for_retry"}, "running", "retrying"),
        ({"submit": "success", "wait": None, "archive": None}, "running", "waiting"),
        ({"submit": "success", "wait": "failed", "archive": "upstream_failed"}, "failed", "failed"),
        ({"submit": "success"}, "success", "not archived"),
        ({"submit": "success", "other": "failed"}, "failed", "not archived"),
        ({"submit": "skipped", "wait": "skipped", "archive": "skipped"}, "failed", "not archived"),  # dagrun_timeout
        ({"submit": "up_for_retry", "archive": None}, "failed", "not archived"),
        ({"submit": None, "archive": "upstream_failed"}, "failed", "failed"),
        ({"submit": "scheduled"}, "success", "not archived"),
        ({"submit": "skipped", "archive": "running"}, "running", "running"),
    ],
)
def test_generation_without_an_archive_shows_how_it_stands(
    gallery: Gallery, admin: httpx.Client, left: Leave, states: dict[str, str | None], run_state: str, expected: str
) -> None:
    one = left(states=states, run_state=run_state)
    one.request(gallery.pictures, n=3)
    assert state_of(admin, one) == expected
    card = card_of(admin.get("/kling/gallery"), one)
    assert f'data-state="{expected}"' in card
    assert card.count("placeholder") == 3
    assert (" data-open" in card) == (expected in ("running", "waiting", "retrying"))


def test_placeholder_gives_way_to_the_archive(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.request(gallery.pictures)
    assert state_of(admin, one) != "archived"
    one.archive(gallery.pictures)
    assert state_of(admin, one) == "archived"
    assert shown(admin.get("/kling/gallery")).count(one.generation.kling_task_id) == 1


def test_archive_by_id_alone_has_no_request(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.archive(gallery.pictures, asked={})
    assert "No prompt" in card_of(admin.get("/kling/gallery"), one)


def test_values_in_a_custom_backend_leave_a_row(admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.put("archive", f"kling_archive_{one.generation.kling_task_id}", "s3://xcoms/1234.json")
    assert "custom XCom backend" in card_of(admin.get("/kling/gallery"), one)


def test_value_that_was_set_by_hand_is_text(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one, other = left(), left()
    value = other.archive(gallery.pictures)
    one.put("archive", f"kling_archive_{one.generation.kling_task_id}", json.dumps(value))
    assert str(value["asked"]["prompt"]) in card_of(admin.get("/kling/gallery"), one)


HOSTILE = [
    None,
    17,
    "{not json",
    [],
    [1, 2],
    {},
    {"asked": "x", "images": "y", "task": 3, "units": "many", "image_count": [], "manifest": 5, "conn_id": {}},
    {"asked": {"prompt": ["x"], "references": {"a": 1}, "n": 10**9}, "images": [None, 5, {"index": None}, {}]},
    {"units": 1e308, "image_count": -5, "task": {"created_at": "x", "updated_at": 5}},
    {"task": {"created_at": "2026-01-01", "updated_at": "2026-01-01T00:00:00+00:00"}},
    {"images": [{"index": n} for n in range(5000)]},
    {"asked": {"prompt": "half of a pair: \ud83d"}, "prompt": "\ud83d", "manifest": "\ud83d"},
    {"units": 10**400, "image_count": 10**400},
    {"units": 2**63 - 1, "image_count": 2**63 - 1},
    {"image_count": 1e308},
    {"units": math.nan, "image_count": math.inf, "prompt": "not a number"},
    math.nan,
    '{"a":' + "[" * 100_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda one: repr(one)[:50])
@pytest.mark.parametrize("kind", ["archive", "request"])
def test_no_value_breaks_the_page(admin: httpx.Client, left: Leave, value: Any, kind: str) -> None:
    one = left()
    one.put("archive", f"kling_{kind}_{one.generation.kling_task_id}", value)
    assert card_of(admin.get("/kling/gallery"), one)
    run = {"dag_id": "open", "run_id": one.generation.run_id}
    for query in ({"q": "anything"}, run, {**run, "task_id": kind}, {"dag_id": "open", "task_id": "submit"}):
        assert admin.get("/kling/gallery", params=query).status_code == 200


def test_sums_leave_out_what_is_no_number(gallery: Gallery, admin: httpx.Client) -> None:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        seed(session, many_runs(1, "sums"), gallery.pictures)
    for value in ({"units": math.nan, "image_count": 1}, {"units": [8]}, {"units": 3, "image_count": None}):
        one = Left("sums")
        one.put("archive", f"kling_archive_{one.generation.kling_task_id}", value)
    totals = admin.get("/kling/gallery?dag_id=sums").text
    assert re.findall(r"<b>([^<]*)</b> (generation|image|unit)", totals) == [
        ("4", "generation"),
        ("2", "image"),
        ("5", "unit"),
    ]


def test_task_whose_result_is_not_a_number(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left(states=dict.fromkeys(("submit", "wait", "archive"), "success"))
    one.archive(gallery.pictures)
    one.put("wait", "return_value", {"kling_task_id": one.generation.kling_task_id, "x": math.nan})
    query = {"dag_id": "open", "run_id": one.generation.run_id, "task_id": "wait"}
    assert admin.get("/kling/gallery", params=query).status_code == 200


def test_html_of_a_prompt_is_text(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    nasty = "\"><script>alert(1)</script><img src=x onerror=alert(2)>' {{ 1234*4321 }}"
    one = left()
    reference = {"name": nasty, "source": nasty, "uri": f"javascript:alert(1)//{nasty}"}
    one.archive(gallery.pictures, asked={"prompt": nasty, "negative_prompt": nasty, "references": [reference] * 2})
    page = admin.get("/kling/gallery").text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "5332114" not in card_of(admin.get("/kling/gallery"), one).partition("</p>")[0]
    assert re.findall(r'href="\s*javascript', page) == []


def test_html_of_a_filter_is_text(admin: httpx.Client) -> None:
    for name in ("q", "run_id", "task_id", "kling_task_id", "since", "map_index", "page", "until"):
        page = admin.get("/kling/gallery", params={name: '"><script>alert(1)</script>'})
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def test_spend_is_that_of_the_filters_in_force(gallery: Gallery, admin: httpx.Client) -> None:
    page = admin.get("/kling/gallery", params={"since": "2026-01-01T07:00", "until": "2026-01-01T07:09:59"}).text
    [row] = re.findall(r"<tr>(?:(?!</tr>).)*>open</a>.*?</tr>", page, re.DOTALL)
    assert re.findall(r"<td>([^<]*)</td>", row) == ["10", "10", "20", "20"]


def test_statements_of_a_page_do_not_grow_with_what_is_archived(gallery: Gallery, admin: httpx.Client) -> None:
    from airflow.utils.session import create_session

    def cost() -> list[str]:
        with statements() as sent:
            assert len(shown(admin.get("/kling/gallery?dag_id=growing"))) == 50
        return sent

    pictures = Pictures(gallery.folder / "growing", side=64, kinds=1)
    with create_session(scoped=False) as session:
        seed(session, many_runs(60, "growing"), pictures)
    few = cost()
    with create_session(scoped=False) as session:
        seed(session, one_run(1000, "growing"), pictures)
    assert cost() == few
    assert len(few) == 4  # the page, its values, the spend, what was made from its results


def test_question_for_states_is_two_statements(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    waiting = [left(states={"submit": "success", "wait": "deferred"}) for _ in range(5)]
    for one in waiting:
        one.request(gallery.pictures)
    with statements() as sent:
        answer = admin.get("/kling/states", params={"id": [one.generation.kling_task_id for one in waiting]})
    assert answer.json() == {one.generation.name: "running" for one in waiting}
    assert len(sent) == 2


def test_text_that_no_database_keeps_is_as_if_it_were_not_there(gallery: Gallery, admin: httpx.Client) -> None:
    names = ("q", "run_id", "task_id", "kling_task_id", "since")
    for name in names:
        assert admin.get(f"/kling/gallery?{name}=%00").status_code == 200
    one = gallery.open_one
    ids = [f"{one.kling_task_id}\0", one.kling_task_id]
    assert admin.get("/kling/states", params={"id": ids}).json()[one.name] == "archived"


def test_day_after_the_last_one(admin: httpx.Client) -> None:
    page = admin.get("/kling/gallery?until=9999-12-31")
    assert len(shown(page)) == 50
    assert "is not a date" not in page.text


def test_too_many_ids_are_refused(admin: httpx.Client) -> None:
    assert admin.get("/kling/states", params={"id": ["1"] * 51}).status_code == 422


def test_archive_in_one_dag_hides_no_generation_of_another(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    victim = left(states={"submit": "success", "wait": "deferred"})
    victim.request(gallery.pictures)
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        seed(session, many_runs(1, "attacker"), gallery.pictures)
    for attacker in (Left("attacker"), left(), left(map_index=3)):
        attacker.put("archive", f"kling_archive_{victim.generation.kling_task_id}", {"images": []})
    page = admin.get("/kling/gallery", params={"kling_task_id": victim.generation.kling_task_id})
    assert len(shown(page)) == 4
    assert re.findall(rf'data-generation="{victim.generation.name}" data-state="([^"]*)"', page.text) == ["running"]
    assert state_of(admin, victim) == "running"
    spend = re.findall(r">attacker</a></th>\s*<td>(\d+)</td><td>(\d+)</td>", page.text)
    assert spend == [("1", "1")]


def test_value_that_is_too_large_is_not_read(admin: httpx.Client, left: Leave) -> None:
    one = left()
    for task_id, kind in (("archive", "archive"), ("submit", "request")):
        one.put(
            task_id,
            f"kling_{kind}_{one.generation.kling_task_id}",
            {"prompt": "found", "asked": {"prompt": "x" * 2**18}},
        )
    card = card_of(admin.get("/kling/gallery"), one)
    assert "Its values are larger than 128 kB" in card
    assert "xxxx" not in card
    assert (
        admin.get(
            f"/kling/dags/open/image?run_id={one.generation.run_id}&task_id=archive&index=0"
            f"&kling_task_id={one.generation.kling_task_id}"
        ).status_code
        == 404
    )


def test_page_of_huge_values_takes_little_memory(admin: httpx.Client, tmp_path: Path) -> None:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        seed(session, many_runs(1, "huge"), Pictures(tmp_path, side=16, kinds=1))
    for _ in range(5):
        one = Left("huge")
        one.put("archive", f"kling_archive_{one.generation.kling_task_id}", {"images": [{"index": 0}] * 300_000})
    gc.collect()
    tracemalloc.start()
    try:
        assert len(shown(admin.get("/kling/gallery?dag_id=huge"))) == 6
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
