"""The emulator, with three more things: many jobs in one request, a route that HttpSensorTrigger can wait on, and a
record of when each task was first said to be finished.

``HttpSensorTrigger`` fires at the first answer that is not 404, and Kling answers 200 from the start. So the same
routes below ``/until-done`` answer 404 while a task is not finished: the peer gets what it needs to work at all.
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import time

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
    """ASGI middleware: 404 in place of a task that is not finished.

    :ivar answered: epoch seconds when a query was first answered with the end of a task, by its id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.answered: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        waits = scope["path"].startswith(UNTIL_DONE)
        path = scope["path"].removeprefix(UNTIL_DONE)
        start: list[Message] = []

        async def judge(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            if start:
                begin = start.pop()
                if any(mark in message.get("body", b"") for mark in _FINISHED):
                    self.answered.setdefault(path.rpartition("/")[2], time.time())
                elif waits:
                    begin["status"] = 404
                await send(begin)
            await send(message)

        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, judge)

    async def answers(self, request: Request) -> Response:
        return JSONResponse(self.answered)


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
    outer = UntilDone(app)
    app.router.routes += [
        Route("/_bench/jobs", jobs.create, methods=["POST"]),
        Route("/_bench/ends", jobs.ends, methods=["GET"]),
        Route("/_bench/answers", outer.answers, methods=["GET"]),
    ]
    return world, outer


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
