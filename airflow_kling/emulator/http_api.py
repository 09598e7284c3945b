"""Kling's routes: create, query and list on each gateway, and the downloads of results."""

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

from airflow_kling.emulator.config import Account
from airflow_kling.emulator.errors import ApiError, comet_error, kling_error
from airflow_kling.emulator.faults.book import Fault
from airflow_kling.emulator.faults.middleware import struck
from airflow_kling.emulator.requests import validate
from airflow_kling.emulator.routes import DEFAULT_PAGE_SIZE, GATEWAYS, MAX_PAGE_NUM, MAX_PAGE_SIZE, Gateway
from airflow_kling.emulator.serializers import envelope, wrapped
from airflow_kling.emulator.services import World
from airflow_kling.emulator.tasks import Task

_MAX_BODY = 96 * 1024 * 1024
"""Bytes: six images of 10 MB in base64, and the rest."""
_INLINE_BODY = 64 * 1024
"""Bytes from which on a body is checked in a thread, because it holds images."""
_NAME = re.compile(r"(\d)(-watermark)?\.\w+")


def kling_routes(world: World) -> list[Route]:
    """The routes of all gateways."""
    routes = [Route("/_images/{task_id}/{name}", Downloads(world).image, methods=["GET"])]
    for gateway in GATEWAYS:
        api = GatewayApi(world, gateway)
        routes += [
            Route(gateway.path, api.create, methods=["POST"]),
            Route(gateway.path + "/{key}", api.query, methods=["GET"]),
        ]
        if gateway.official:
            routes.append(Route(gateway.path, api.list, methods=["GET"]))
    return routes


def error_response(error: ApiError) -> Response:
    """An error answer with a new request id."""
    return JSONResponse(error.body(str(uuid.uuid4())), error.status)


class GatewayApi:
    """The API as one gateway shows it."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._gateway = gateway
        self._sparse = world.config.sparse and not gateway.official
        self._wrapped = world.config.wrapped and not gateway.official

    def _account(self, request: Request) -> Account:
        return self._world.accounts.authenticate(request.headers.get("authorization"), official=self._gateway.official)

    def _base_url(self, request: Request) -> str:
        return (self._world.config.public_url or str(request.base_url)).rstrip("/")

    def _facts(self, request: Request, task: Task | None = None) -> dict[str, Any]:
        facts: dict[str, Any] = {"gateway": self._gateway.name}
        try:
            facts["account"] = self._account(request).name
        except ApiError:
            facts["account"] = None
        return {**facts, **(task_facts(task) if task else {})}

    async def create(self, request: Request) -> Response:
        """``POST``: make a task."""
        self._world.requests["create"] += 1
        raw = await _read(request)
        return await struck(
            self._world, "create", partial(self._create_facts, request, raw), partial(self._create, request, raw)
        )

    def _create_facts(self, request: Request, raw: bytes | None) -> dict[str, Any]:
        try:
            body = json.loads(raw or b"")
        except ValueError:
            body = None
        asked = body if isinstance(body, dict) else {}
        return {**self._facts(request), **{name: asked.get(name) for name in ("external_task_id", "prompt")}}

    async def _create(self, request: Request, raw: bytes | None, fault: Fault | None) -> Response:
        account = self._account(request)
        body = self._json(raw)
        check = partial(validate, body, self._gateway, self._world.references)
        creation = check() if len(raw or b"") < _INLINE_BODY else await asyncio.to_thread(check)
        failure = next((reference.problem for reference in creation.references if reference.problem), None)
        if fault is not None and fault.action == "fail_task":
            failure = fault.message or "Failure to pass the risk control system"
        task = self._world.store.create(
            account.name,
            self._gateway,
            creation,
            base_url=self._base_url(request),
            failure=failure,
            fetching=self._world.config.fetch_references and any(r.url for r in creation.references),
        )
        self._world.background.watch(task)
        return self._answer(self._world.answers.created(task, sparse=self._sparse), fault, wrap=False)

    def _json(self, raw: bytes | None) -> Any:
        try:
            if raw is None:
                raise ValueError("request body is too large")
            return json.loads(raw)
        except ValueError as error:
            if self._gateway.official:
                raise kling_error(1200, f"request body is not valid JSON: {error}") from error
            raise comet_error(400, f"invalid request body: {error}", "invalid_request") from error

    async def query(self, request: Request) -> Response:
        """``GET .../{id}``: look at a task."""
        self._world.requests["query"] += 1
        return await struck(self._world, "query", partial(self._query_facts, request), partial(self._query, request))

    def _query_facts(self, request: Request) -> dict[str, Any]:
        key = request.path_params["key"]
        return {"task_id": key, **self._facts(request, self._world.store.peek(key))}

    async def _query(self, request: Request, fault: Fault | None) -> Response:
        account = self._account(request)
        task = self._world.store.find(account.name, self._gateway, request.path_params["key"])
        data = self._world.answers.task(task, self._base_url(request), sparse=self._sparse)
        return self._answer(_disguised(data, fault), fault, wrap=self._wrapped)

    async def list(self, request: Request) -> Response:
        """``GET``: tasks, newest first."""
        self._world.requests["list"] += 1
        return await struck(self._world, "list", partial(self._facts, request), partial(self._list, request))

    async def _list(self, request: Request, fault: Fault | None) -> Response:
        account = self._account(request)
        number = _whole(request, "pageNum", 1, MAX_PAGE_NUM)
        size = _whole(request, "pageSize", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        base_url = self._base_url(request)
        tasks = self._world.store.page(account.name, self._gateway, number, size)
        data = [_disguised(self._world.answers.task(task, base_url), fault) for task in tasks]
        return self._answer(data, fault, wrap=False)

    def _answer(self, data: Any, fault: Fault | None, *, wrap: bool) -> Response:
        request_id = str(uuid.uuid4())
        if fault is not None and fault.action == "wrapped":
            return JSONResponse(wrapped(data, request_id, fault.depth))
        body = wrapped(data, request_id) if wrap else envelope(data, request_id, sparse=self._sparse)
        return JSONResponse(body)


class Downloads:
    """Result images, as a content delivery network would serve them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def image(self, request: Request) -> Response:
        """``GET /_images/{task_id}/{name}``."""
        self._world.requests["image"] += 1
        if "authorization" in request.headers:
            # Storage behind signed URLs refuses a second way of signing; and no key may be sent here.
            return denied(400, "InvalidArgument", "Only one auth mechanism allowed")
        return await struck(self._world, "image", partial(self._facts, request), partial(self._image, request))

    def _facts(self, request: Request) -> dict[str, Any]:
        task = self._world.store.peek(request.path_params["task_id"])
        index = request.path_params["name"][:1]
        return {"task_id": request.path_params["task_id"], "index": index, **(task_facts(task) if task else {})}

    async def _image(self, request: Request, fault: Fault | None) -> Response:
        task_id, name = request.path_params["task_id"], request.path_params["name"]
        query = request.query_params
        refusal = self._world.answers.signer.refusal(task_id, name, query.get("token", ""), query.get("expires", ""))
        if refusal:
            return denied(403, "AccessDenied", refusal)
        task, parts = self._world.store.peek(task_id), _NAME.fullmatch(name)
        if task is None or parts is None:
            return denied(404, "NoSuchKey", "The specified key does not exist.")
        data = await self._world.results.file(task, int(parts[1]), watermark=bool(parts[2]))
        return Response(data, media_type=f"image/{self._world.results.image_format}")


def denied(status: int, code: str, message: str) -> Response:
    """An error as object storage words it."""
    xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(xml, status, media_type="application/xml")


def task_facts(task: Task) -> dict[str, Any]:
    """What faults can be matched against."""
    return {
        "task_id": task.task_id,
        "external_task_id": task.creation.external_task_id,
        "prompt": task.creation.prompt,
        "account": task.account,
        "gateway": task.gateway.name,
    }


def _disguised(data: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    if fault is None or fault.action != "unknown_status":
        return data
    return {**data, "task_status": fault.task_status, "task_result": {}}


def _whole(request: Request, name: str, default: int, most: int) -> int:
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
        if size <= _MAX_BODY:
            parts.append(part)
    return b"".join(parts) if size <= _MAX_BODY else None
