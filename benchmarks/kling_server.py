"""The emulator, with two more things: many jobs in one request, and a route that HttpSensorTrigger can wait on.

``HttpSensorTrigger`` fires at the first answer that is not 404, and Kling answers 200 from the start. So the same
routes below ``/until-done`` answer 404 while a task is not finished: the peer gets what it needs to work at all.
"""

from __future__ import annotations

import argparse
import math
import random
import signal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_kling.emulator.config import Duration, EmulatorConfig
from airflow_kling.emulator.endpoints import endpoints_by_path
from airflow_kling.emulator.requests import validate
from airflow_kling.emulator.routes import ROUTES
from airflow_kling.emulator.server import Server, _listen, build_app
from airflow_kling.emulator.services import World

UNTIL_DONE = "/until-done"
_FINISHED = (b'"task_status":"succeed"', b'"task_status":"failed"')


class UntilDone:
    """ASGI middleware: 404 in place of a task that is not finished."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(UNTIL_DONE):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(UNTIL_DONE)
        start: list[Message] = []

        async def judge(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            if start:
                begin = start.pop()
                if not any(mark in message["body"] for mark in _FINISHED):
                    begin["status"] = 404
                await send(begin)
            await send(message)

        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, judge)


class Jobs:
    """Many tasks in one request, with durations that are the same for every contestant."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def create(self, request: Request) -> Response:
        """``{"count", "gateway", "median", "sigma", "seed"}`` -> ``{"jobs": [[id, end in Unix seconds], ...]}``."""
        asked = await request.json()
        endpoints = (endpoint for [endpoint, *_] in endpoints_by_path(ROUTES).values())
        endpoint = next(one for one in endpoints if one.gateway.name == asked["gateway"])
        body = {
            "prompt": "A mug and a plant by the window",
            "subject_image_list": [{"subject_image": f"https://example.com/{name}.png"} for name in ("mug", "plant")],
        }
        creation = validate(body, endpoint, self._world.references)
        dice = random.Random(asked["seed"])
        jobs = []
        for _ in range(asked["count"]):
            task = self._world.store.create("default", endpoint, creation)
            task.duration = asked["median"] * math.exp(asked["sigma"] * dice.gauss(0, 1))
            task.ends_at = task.created_at + task.duration
            jobs.append((task.task_id, task.ends_at))
        return JSONResponse({"jobs": jobs})

    async def ends(self, request: Request) -> Response:
        """``{task id: end in Unix seconds}`` of every task."""
        tasks = self._world.store.of_account("default")
        return JSONResponse({task.task_id: task.ends_at for task in tasks})


def build(config: EmulatorConfig) -> tuple[World, ASGIApp]:
    """The emulator as an ASGI application with the routes above, for servers of any kind."""
    world = World(config)
    app, jobs = build_app(world), Jobs(world)
    app.router.routes += [
        Route("/_bench/jobs", jobs.create, methods=["POST"]),
        Route("/_bench/ends", jobs.ends, methods=["GET"]),
    ]
    return world, UntilDone(app)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=Duration.parse, default=Duration(8.0))
    parser.add_argument("--image-size", type=int, default=1024)
    options = parser.parse_args()
    config = EmulatorConfig(duration=options.duration, image_size=options.image_size, fetch_references=False)
    world, app = build(config)
    listener, url = _listen(config)
    server = Server(world, lambda: print(f"Kling emulator listening on {url}", flush=True))
    server.config.app = app  # type: ignore[assignment]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run([listener])


if __name__ == "__main__":
    main()
