"""Builds the gallery's FastAPI app.

Airflow does not authenticate requests to the apps of plugins. So every route asks for a user itself.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_kling.plugins.gallery import media_routes, pages, static, video_routes
from airflow_kling.plugins.gallery.access import LoggedIn
from airflow_kling.plugins.gallery.html import render

# Only the gallery's own files: a text that became HTML by a mistake could neither run a script nor load anything.
_CONTENT_POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app() -> FastAPI:
    """Return the app, which Airflow mounts."""
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
    app.include_router(video_routes.router)
    app.include_router(static.router)
    # Without this route FastAPI itself would answer 404, before anybody has logged in. It comes last, and an empty list
    # of methods stands for all of them.
    app.add_api_route("/{path:path}", _not_found, methods=[], operation_id="not_found")
    app.add_exception_handler(StarletteHTTPException, _show_error)
    app.add_middleware(_AddHeaders)
    return app


async def _not_found(path: str) -> None:
    raise HTTPException(404, "Not Found")


_MESSAGES = {
    401: "You are not logged in. Log in to Airflow.",
    403: "You may not read this. Ask for access to this DAG and its XComs.",
    404: "This page does not exist.",
}


async def _show_error(request: Request, error: Any) -> Response:
    """Answer an error with a page for browsers, and with JSON for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    message = _MESSAGES.get(error.status_code, "The gallery could not answer this request.")
    page = render("error.html", status=error.status_code, message=message, root=request.scope.get("root_path", ""))
    return HTMLResponse(page, error.status_code, headers=error.headers)


class _AddHeaders:
    """Adds the headers that every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_SECURITY_HEADERS)
                # An answer depends on who asks, so no proxy may keep it.
                headers.setdefault("Cache-Control", "private, no-store")
                headers.add_vary_header("Cookie, Authorization")
            await send(message)

        await self._app(scope, receive, send_with_headers)
