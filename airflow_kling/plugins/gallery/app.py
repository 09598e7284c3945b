"""The FastAPI app. Airflow does not authenticate the apps of plugins: each route here asks for a user itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_kling.plugins.gallery import media_routes, pages, static
from airflow_kling.plugins.gallery.access import LoggedIn
from airflow_kling.plugins.gallery.html import render

_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app() -> FastAPI:
    """The gallery's app, to be mounted by Airflow."""
    app = FastAPI(
        title="Kling gallery",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would answer before anybody has logged in
        dependencies=[LoggedIn],
    )
    app.include_router(pages.router)
    app.include_router(media_routes.router)
    app.include_router(static.router)
    # Last, and for every method (no list of them), so that what is not there asks for a user as well.
    app.add_api_route("/{path:path}", _nothing_here, methods=[], operation_id="nothing_here")
    app.add_exception_handler(StarletteHTTPException, _show_error)
    app.add_middleware(_Headers)
    return app


async def _nothing_here(path: str) -> None:
    raise HTTPException(404, "Not Found")


_WORDS = {
    401: "Your session has ended. Log in to Airflow again.",
    403: "You may not see this. Ask for access to this DAG and its XComs.",
    404: "There is nothing here.",
}


async def _show_error(request: Request, error: Any) -> Response:
    """A page for people, JSON for everybody else."""
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    words = _WORDS.get(error.status_code, "This did not work.")
    page = render("error.html", status=error.status_code, words=words, root=request.scope.get("root_path", ""))
    return HTMLResponse(page, error.status_code, headers=error.headers)


class _Headers:
    """Adds what every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "private, no-store")
                headers.add_vary_header("Cookie, Authorization")
            await send(message)

        await self._app(scope, receive, send_with_headers)
