"""Serves the endpoints that control an emulator. They need no authentication: bind it to loopback only.

Pages of other sites are kept out by :mod:`airflow_kling.emulator.callers`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_kling.emulator.services import World


def control_routes(world: World) -> list[Route]:
    """The routes below ``/_emulator``."""
    control = Control(world)
    return [
        Route("/_emulator/health", control.health, methods=["GET"]),
        Route("/_emulator/ledger", control.ledger, methods=["GET"]),
        Route("/_emulator/reset", control.reset, methods=["POST"]),
        Route("/_emulator/clock", control.advance, methods=["POST"]),
        Route("/_emulator/faults", control.faults, methods=["GET"]),
        Route("/_emulator/faults", control.add_fault, methods=["POST"]),
        Route("/_emulator/faults", control.clear_faults, methods=["DELETE"]),
        Route("/_emulator/faults/{fault_id}", control.remove_fault, methods=["DELETE"]),
        Route("/_emulator/faults/{fault_id}/release", control.release, methods=["POST"]),
    ]


def _refuse(message: Any, status: int = 422) -> Response:
    return JSONResponse({"error": message}, status)


class Control:
    """What the control endpoints do."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def health(self, request: Request) -> Response:
        """Report that requests are answered."""
        return JSONResponse({"status": "ok"})

    async def ledger(self, request: Request) -> Response:
        """Report what was created and billed; ``?tasks=false`` only the totals."""
        return JSONResponse(self._world.ledger(tasks=request.query_params.get("tasks") != "false"))

    async def reset(self, request: Request) -> Response:
        """Forget tasks, faults and counts."""
        self._world.reset()
        return JSONResponse({"status": "ok"})

    async def advance(self, request: Request) -> Response:
        """Move the clock of tasks and URLs forward."""
        try:
            now = self._world.clock.advance(float((await request.json())["advance"]))
        except (ValueError, TypeError, KeyError) as error:
            return _refuse(f'expected {{"advance": seconds}}: {error}')
        return JSONResponse({"now": now})

    async def faults(self, request: Request) -> Response:
        """List the faults in force."""
        return JSONResponse({"faults": self._world.faults.describe()})

    async def add_fault(self, request: Request) -> Response:
        """Put a fault in force."""
        try:
            fault = await request.json()
            if not isinstance(fault, dict):
                raise ValueError("a fault is a JSON object")
            fault_id = self._world.faults.add(fault)
        except ValidationError as error:
            # Without context: it may hold exceptions, which are no JSON.
            return _refuse(json.loads(error.json(include_url=False, include_context=False)))
        except ValueError as error:
            return _refuse(str(error))
        return JSONResponse({"id": fault_id}, 201)

    async def clear_faults(self, request: Request) -> Response:
        """Remove all faults."""
        self._world.faults.clear()
        return Response(status_code=204)

    async def remove_fault(self, request: Request) -> Response:
        """Remove one fault."""
        if not self._world.faults.remove(request.path_params["fault_id"]):
            return _refuse("no such fault", 404)
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        """Release the requests that a ``hold`` has stopped."""
        try:
            return JSONResponse({"released": self._world.faults.release(request.path_params["fault_id"])})
        except KeyError:
            return _refuse("no such fault", 404)
