"""Who gets what of the gallery: Airflow's real API server, its real users, one DAG that one of them may not read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.integration.plugins.gallery.world import Gallery

HTML = {"Accept": "text/html"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
OF_ONE_GENERATION = ("image", "reference", "manifest")


def routes_of(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of an app and of what is mounted in it."""
    from starlette.routing import Mount, Route

    for route in app.routes:
        if isinstance(route, Mount):
            yield from routes_of(route.app, prefix + route.path)
        elif isinstance(route, Route):
            for method in route.methods or METHODS:
                yield method, prefix + re.sub(r"{(\w+)(:\w+)?}", r"some-\1", route.path)
        else:
            yield from routes_of(route.original_router, prefix)  # what a newer FastAPI keeps of an included router


def test_every_route_of_the_app_wants_a_user(gallery: Gallery) -> None:
    from airflow_kling.plugins.gallery.plugin import load_app

    routes = list(routes_of(load_app(), "/kling"))
    assert {path for _, path in routes} >= {"/kling/gallery", "/kling/states", "/kling/dags/some-dag_id/image"}
    with gallery.server.client() as anonymous:
        answers = {route: anonymous.request(*route).status_code for route in routes}
    assert {route: status for route, status in answers.items() if status not in (401, 403)} == {}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path",
    [
        "/kling/",
        "/kling/gallery",
        "/kling/gallery/",
        "/kling/nothing/here",
        "/kling/static/gallery.js",
        "/kling/static/..%2f..%2fapp.py",
        "/kling/docs",
        "/kling/redoc",
        "/kling/openapi.json",
        "/kling/dags/open/image",
    ],
)
def test_whatever_is_asked_a_stranger_gets_401(gallery: Gallery, method: str, path: str) -> None:
    with gallery.server.client() as anonymous:
        assert anonymous.request(method, path).status_code == 401


def test_a_token_that_is_none_is_refused(gallery: Gallery) -> None:
    with gallery.server.client() as stranger:
        for headers in ({"Cookie": "_token=nonsense"}, {"Authorization": "Bearer nonsense"}):
            assert stranger.get("/kling/gallery", headers=headers).status_code in (401, 403)


def test_stranger_who_reads_html_is_told_to_log_in_and_nothing_else(gallery: Gallery) -> None:
    with gallery.server.client() as anonymous:
        answer = anonymous.get("/kling/gallery", headers=HTML)
    assert answer.status_code == 401
    assert "Log in" in answer.text
    assert "kling/static" not in answer.text


def test_who_has_no_role_sees_nothing(gallery: Gallery) -> None:
    with gallery.server.client("nobody") as nobody:
        assert nobody.get("/kling/gallery").status_code == 403
        assert nobody.get("/kling/states?id=1").status_code == 403
        for what in OF_ONE_GENERATION:
            assert nobody.get(gallery.address(gallery.open_one, what)).status_code == 403


@pytest.mark.parametrize("what", OF_ONE_GENERATION)
def test_generation_of_a_dag_that_may_not_be_read(gallery: Gallery, what: str) -> None:
    with gallery.server.client("admin") as admin, gallery.server.client("viewer") as viewer:
        denied, readable = gallery.address(gallery.denied_one, what), gallery.address(gallery.open_one, what)
        assert admin.get(denied).status_code == 200
        assert viewer.get(readable).status_code == 200
        refused = viewer.get(denied)
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Forbidden"}


@pytest.mark.parametrize("size", ["thumb", "large", "original"])
def test_image_of_a_dag_that_may_not_be_read_in_any_size(gallery: Gallery, size: str) -> None:
    with gallery.server.client("admin") as admin, gallery.server.client("viewer") as viewer:
        address = gallery.address(gallery.denied_one, "image", size=size)
        assert admin.get(address).status_code == 200  # so it is cached as well
        assert viewer.get(address).status_code == 403


def test_dag_in_the_query_does_not_stand_in_for_the_one_in_the_path(gallery: Gallery) -> None:
    address = gallery.address(gallery.denied_one, "image")
    with gallery.server.client("viewer") as viewer:
        assert viewer.get(f"{address}&dag_id=open").status_code == 403
        # The generation belongs to a DAG: naming another one finds nothing.
        assert viewer.get(address.replace("/denied/", "/open/")).status_code == 404
        assert viewer.get(address.replace("/denied/", "/~/")).status_code == 404


def test_page_of_a_dag_that_may_not_be_read(gallery: Gallery) -> None:
    with gallery.server.client("viewer") as viewer:
        answer = viewer.get("/kling/gallery?dag_id=denied", headers=HTML)
        assert answer.status_code == 403
        assert "Ask for access" in answer.text
        assert viewer.get("/kling/gallery?dag_id=open&dag_id=denied").status_code == 403


def test_page_lists_only_dags_that_may_be_read(gallery: Gallery) -> None:
    with gallery.server.client("viewer") as viewer, gallery.server.client("admin") as admin:
        for query in ("", "?q=picture", f"?kling_task_id={gallery.denied_one.kling_task_id}", "?dag_id=~"):
            assert "denied" not in re.sub(r"You see the generations.*", "", viewer.get(f"/kling/gallery{query}").text)
        assert "denied" in admin.get("/kling/gallery").text


def test_states_are_told_only_of_dags_that_may_be_read(gallery: Gallery) -> None:
    denied, opened = gallery.denied_one, gallery.open_one
    ids = [denied.kling_task_id, opened.kling_task_id, "none"]
    with gallery.server.client("viewer") as viewer, gallery.server.client("admin") as admin:
        assert viewer.get("/kling/states", params={"id": ids}).json() == {opened.name: "archived"}
        assert admin.get("/kling/states", params={"id": ids}).json() == dict.fromkeys(
            (denied.name, opened.name), "archived"
        )


def test_listing_leaves_out_what_may_not_be_read_before_it_counts(gallery: Gallery) -> None:
    def generations(client: httpx.Client) -> int:
        found = re.search(r"<b>([\d,]+)</b> generation", client.get("/kling/gallery?until=2029-01-01").text)
        assert found
        return int(found[1].replace(",", ""))

    with gallery.server.client("viewer") as viewer, gallery.server.client("admin") as admin:
        assert generations(admin) == generations(viewer) + 1


HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "SAMEORIGIN",
}


@pytest.mark.parametrize("path", ["gallery", "static/gallery.js", "nothing", "states?id=1"])
def test_every_answer_has_the_headers(gallery: Gallery, path: str) -> None:
    with gallery.server.client("admin") as admin, gallery.server.client() as anonymous:
        for client in (admin, anonymous):
            headers = client.get(f"/kling/{path}").headers
            assert headers.items() >= HEADERS.items()
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'self'" in policy
            assert "unsafe" not in policy
            assert "private" in headers["cache-control"]


def test_page_has_nothing_inline_and_nothing_of_others(gallery: Gallery) -> None:
    with gallery.server.client("admin") as admin:
        page = admin.get("/kling/gallery").text
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    assert re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//', page) == []


def test_everything_but_looking_is_not_there(gallery: Gallery) -> None:
    with gallery.server.client("admin") as admin:
        statuses: Callable[[str], int] = lambda method: admin.request(method, "/kling/gallery").status_code  # noqa: E731
        assert {method: statuses(method) for method in METHODS if method != "GET"} == dict.fromkeys(METHODS[1:], 404)
