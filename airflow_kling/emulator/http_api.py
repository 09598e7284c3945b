"""Serves the Kling API: create, query and list under each path, and the downloads of results."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_kling.emulator import routes
from airflow_kling.emulator.config import Account
from airflow_kling.emulator.endpoints import Endpoint, choose, endpoints_by_path
from airflow_kling.emulator.errors import ApiError, comet_error, kling_error
from airflow_kling.emulator.faults.book import Fault
from airflow_kling.emulator.faults.middleware import handle
from airflow_kling.emulator.gateways import DEFAULT_PAGE_SIZE, MAX_PAGE_NUM, MAX_PAGE_SIZE
from airflow_kling.emulator.ranges import file_response
from airflow_kling.emulator.requests import validate
from airflow_kling.emulator.serializers import envelope, task_facts, wrapped
from airflow_kling.emulator.services import World

_MAX_BODY = 96 * 1024 * 1024
"""Bytes: six images of 10 MB in base64, and the rest."""
_INLINE_BODY = 64 * 1024
"""Bytes from which on a body is checked in a thread, because it holds images."""
_FILE_NAME = re.compile(r"(\d)(-watermark)?\.\w+")


def kling_routes(world: World) -> list[Route]:
    """The HTTP routes of every Kling route on every gateway."""
    served = []
    for path, endpoints in endpoints_by_path(routes.ROUTES).items():
        api = PathApi(world, endpoints)
        served += [
            Route(path, api.create, methods=["POST"]),
            Route(path + "/{key}", api.query, methods=["GET"]),
        ]
        if endpoints[0].gateway.official:
            served.append(Route(path, api.list, methods=["GET"]))
    lists = {results.name for route in routes.ROUTES for results in route.results}
    served += [Route(f"/_{name}/{{task_id}}/{{name}}", Downloads(world, name).file, methods=["GET"]) for name in lists]
    return served


class PathApi:
    """The API under one path.

    :param endpoints: those that share the path, all on gateways of the same kind
    """

    def __init__(self, world: World, endpoints: list[Endpoint]) -> None:
        self._world = world
        self._endpoints = endpoints
        self._official = endpoints[0].gateway.official
        # The options imitate CometAPI's oddities, which Kling itself does not have.
        self._sparse = world.config.sparse and not self._official
        self._wrapped = world.config.wrapped and not self._official

    def _account(self, request: Request) -> Account:
        return self._world.accounts.authenticate(request.headers.get("authorization"), official=self._official)

    def _base_url(self, request: Request) -> str:
        return (self._world.config.public_url or str(request.base_url)).rstrip("/")

    def _facts(self, request: Request, endpoint: Endpoint | None = None) -> dict[str, Any]:
        try:
            account = self._account(request).name
        except ApiError:
            # A fault may be meant for a caller with a wrong key.
            account = None
        facts = {"gateway": self._endpoints[0].gateway.name, "account": account}
        return facts if endpoint is None else {**facts, "gateway": endpoint.gateway.name, "route": endpoint.route.name}

    async def create(self, request: Request) -> Response:
        """Make a task (``POST``)."""
        self._world.requests["create"] += 1
        raw = await _read(request)
        return await handle(
            self._world.faults, "create", partial(self._create_facts, request, raw), partial(self._create, request, raw)
        )

    def _create_facts(self, request: Request, raw: bytes | None) -> dict[str, Any]:
        try:
            body = json.loads(raw or b"")
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        return {
            **self._facts(request, choose(self._endpoints, body)),
            **{name: fields.get(name) for name in ("external_task_id", "prompt")},
        }

    async def _create(self, request: Request, raw: bytes | None, fault: Fault | None) -> Response:
        account = self._account(request)
        body = self._json(raw)
        endpoint = choose(self._endpoints, body)
        check = partial(validate, body, endpoint, self._world.references)
        creation = check() if len(raw or b"") < _INLINE_BODY else await asyncio.to_thread(check)
        failure = next((reference.problem for reference in creation.references if reference.problem), None)
        if fault is not None and fault.action == "fail_task":
            failure = fault.message or "Failure to pass the risk control system"
        task = self._world.store.create(
            account.name,
            endpoint,
            creation,
            base_url=self._base_url(request),
            failure=failure,
            fetching=self._world.config.fetch_references and any(r.url for r in creation.references),
        )
        self._world.background.start(task)
        return self._answer(self._world.answers.created(task, sparse=self._sparse), fault, wrap=False)

    def _json(self, raw: bytes | None) -> Any:
        try:
            if raw is None:
                raise ValueError("request body is too large")
            return json.loads(raw)
        except ValueError as error:
            if self._official:
                raise kling_error(1200, f"request body is not valid JSON: {error}") from error
            raise comet_error(400, f"invalid request body: {error}", "invalid_request") from error

    async def query(self, request: Request) -> Response:
        """Show a task (``GET`` with an id)."""
        self._world.requests["query"] += 1
        return await handle(
            self._world.faults, "query", partial(self._query_facts, request), partial(self._query, request)
        )

    def _query_facts(self, request: Request) -> dict[str, Any]:
        key = request.path_params["key"]
        return {"task_id": key, **self._facts(request), **task_facts(self._world.store.peek(key))}

    async def _query(self, request: Request, fault: Fault | None) -> Response:
        account = self._account(request)
        # Endpoints that share a path find each other's tasks, since the path is all that a query says.
        task = self._world.store.find(account.name, self._endpoints[0], request.path_params["key"])
        data = self._world.answers.task(task, self._base_url(request), sparse=self._sparse)
        return self._answer(_with_unknown_status(data, fault), fault, wrap=self._wrapped)

    async def list(self, request: Request) -> Response:
        """List tasks, newest first (``GET`` without an id)."""
        self._world.requests["list"] += 1
        return await handle(self._world.faults, "list", partial(self._facts, request), partial(self._list, request))

    async def _list(self, request: Request, fault: Fault | None) -> Response:
        account = self._account(request)
        number = _page_parameter(request, "pageNum", 1, MAX_PAGE_NUM)
        size = _page_parameter(request, "pageSize", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        base_url = self._base_url(request)
        tasks = self._world.store.page(account.name, self._endpoints[0], number, size)
        data = [_with_unknown_status(self._world.answers.task(task, base_url), fault) for task in tasks]
        return self._answer(data, fault, wrap=False)

    def _answer(self, data: Any, fault: Fault | None, *, wrap: bool) -> Response:
        request_id = str(uuid.uuid4())
        if fault is not None and fault.action == "wrapped":
            return JSONResponse(wrapped(data, request_id, fault.depth))
        if fault is not None and fault.action == "bare_task":
            return JSONResponse(data)
        body = wrapped(data, request_id) if wrap else envelope(data, request_id, sparse=self._sparse)
        return JSONResponse(body)


class Downloads:
    """The results of one list, served as a content delivery network would.

    :param list_name: a key of ``task_result``
    """

    def __init__(self, world: World, list_name: str) -> None:
        self._world = world
        self._list_name = list_name

    async def file(self, request: Request) -> Response:
        """Send a result (``GET /_images/{task_id}/{name}``, or the name of another list)."""
        self._world.requests["image"] += 1
        if "authorization" in request.headers:
            # Storage behind signed URLs refuses a second way of signing; and no key may be sent here.
            return denied(400, "InvalidArgument", "Only one auth mechanism allowed")
        return await handle(self._world.faults, "image", partial(self._facts, request), partial(self._file, request))

    def _facts(self, request: Request) -> dict[str, Any]:
        task_id, name = request.path_params["task_id"], request.path_params["name"]
        return {"task_id": task_id, "index": name[:1], **task_facts(self._world.store.peek(task_id))}

    async def _file(self, request: Request, fault: Fault | None) -> Response:
        task_id, name = request.path_params["task_id"], request.path_params["name"]
        query = request.query_params
        refusal = self._world.answers.signer.refusal(
            f"_{self._list_name}/{task_id}/{name}", query.get("token", ""), query.get("expires", "")
        )
        if refusal:
            return denied(403, "AccessDenied", refusal)
        task, parts = self._world.store.peek(task_id), _FILE_NAME.fullmatch(name)
        results = next((found for found, _ in task.results if found.name == self._list_name), None) if task else None
        if task is None or results is None or parts is None:
            return denied(404, "NoSuchKey", "The specified key does not exist.")
        try:
            data = await self._world.results.file(task, results, int(parts[1]), watermark=bool(parts[2]))
        except RuntimeError as error:
            return denied(501, "NotImplemented", str(error))
        return file_response(data, self._world.results.media_type(results), request.headers)


def denied(status: int, code: str, message: str) -> Response:
    """An error as object storage words it."""
    xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(xml, status, media_type="application/xml")


def _with_unknown_status(data: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    if fault is None or fault.action != "unknown_status":
        return data
    return {**data, "task_status": fault.task_status, "task_result": {}}


def _page_parameter(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,6}", text) or not 1 <= int(text) <= most:
        raise kling_error(1201, f"{name} must be a whole number from 1 to {most}")
    return int(text)


async def _read(request: Request) -> bytes | None:
    """The body; None, but read to its end, if it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        # A client that is still sending does not see the refusal, so the rest is read too.
        if size <= _MAX_BODY:
            parts.append(part)
    return b"".join(parts) if size <= _MAX_BODY else None
