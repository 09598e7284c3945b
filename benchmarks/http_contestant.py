"""One way to make a poll, measured: one by one, and sixteen at a time."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import httpx

from airflow_kling.api import protocol
from airflow_kling.api.auth import BearerAuth
from airflow_kling.api.gateways import GATEWAYS, Gateway
from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from benchmarks.processes import use_extra_packages
from benchmarks.report import percentile
from deploy.local.stack import EMULATOR_KEY

Poll = Callable[[str], Awaitable[Any]]
RATE = 200  # polls a second
BURSTS = (1, 16)  # polls that begin together
HEADERS = {**protocol.HEADERS, "Authorization": f"Bearer {EMULATOR_KEY}"}
LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=90)
GATEWAY: Gateway = GATEWAYS["cometapi"]
PATH = find_route(DEFAULT_ROUTE).endpoint(GATEWAY.name).path


def read(content: bytes) -> Any:
    """What every way does with an answer that httpx has not made an object of."""
    return protocol.read_task(httpx.Response(200, content=content), now=time.time())


def signed(request: httpx.Request) -> httpx.Request:
    request.headers["Authorization"] = HEADERS["Authorization"]
    return request


@asynccontextmanager
async def nothing(url: str) -> AsyncIterator[Poll]:
    async def poll(job: str) -> None:
        await asyncio.sleep(0)

    yield poll


@asynccontextmanager
async def httpx_own(url: str, **options: Any) -> AsyncIterator[Poll]:
    async with httpx.AsyncClient(auth=signed, limits=LIMITS, trust_env=False, **options) as client:

        async def poll(job: str) -> Any:
            return protocol.read_task(await client.send(protocol.query_request(GATEWAY, url, job)), now=time.time())

        yield poll


@asynccontextmanager
async def package(url: str) -> AsyncIterator[Poll]:
    from airflow_kling.api.async_client import AsyncKlingClient

    async with AsyncKlingClient(BearerAuth(EMULATOR_KEY), base_url=url, gateway=GATEWAY) as client:
        yield partial(client.get, deadline=0)


@asynccontextmanager
async def prebuilt(url: str) -> AsyncIterator[Poll]:
    from httpx_aiohttp import AiohttpTransport

    transport = AiohttpTransport(limits=LIMITS)
    extensions = {"timeout": httpx.Timeout(60).as_dict()}
    async with transport:

        async def poll(job: str) -> Any:
            request = httpx.Request("GET", f"{url}{PATH}/{job}", headers=HEADERS, extensions=extensions)
            response = await transport.handle_async_request(request)
            await response.aread()
            return protocol.read_task(response, now=time.time())

        yield poll


@asynccontextmanager
async def bare_aiohttp(url: str, decode: Callable[[bytes], Any] = read) -> AsyncIterator[Poll]:
    connector = aiohttp.TCPConnector(limit=50, keepalive_timeout=90)
    async with aiohttp.ClientSession(
        connector=connector, headers=HEADERS, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def poll(job: str) -> Any:
            async with session.get(f"{url}{PATH}/{job}") as response:
                return decode(await response.read())

        yield poll


@asynccontextmanager
async def session_per_poll(url: str) -> AsyncIterator[Poll]:
    """What HttpSensorTrigger does."""
    from airflow.providers.http.hooks.http import HttpAsyncHook

    hook = HttpAsyncHook(method="GET")

    async def poll(job: str) -> None:
        async with aiohttp.ClientSession() as session:
            await hook.run(session=session, endpoint=f"{PATH}/{job}")

    yield poll


WAYS: dict[str, Callable[[str], Any]] = {
    "nothing": nothing,
    "httpx": httpx_own,
    "package": package,
    "prebuilt": prebuilt,
    "aiohttp": bare_aiohttp,
    "aiohttp_status_only": partial(bare_aiohttp, decode=lambda content: json.loads(content)["data"]["task_status"]),
    "session_per_poll": session_per_poll,
    "http1_hypercorn": httpx_own,
    "http2_hypercorn": partial(httpx_own, http1=False, http2=True),
}


async def create_jobs(url: str) -> list[str]:
    asked = {"count": 100, "gateway": GATEWAY.name, "median": 3600, "sigma": 0.0, "seed": 1}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        answer = await client.post(f"{url}/_bench/jobs", json=asked)
    return [job for job, _ in answer.raise_for_status().json()["jobs"]]


async def polled(poll: Poll, jobs: list[str], count: int, burst: int) -> list[float]:
    """Begin ``burst`` polls at once, 200 a second."""
    times: list[float] = []

    async def one(job: str) -> None:
        began = time.perf_counter()
        await poll(job)
        times.append(time.perf_counter() - began)

    running = set()
    for number in range(count):
        running.add(asyncio.create_task(one(jobs[number % len(jobs)])))
        if number % burst == burst - 1:
            await asyncio.sleep(burst / RATE)
    await asyncio.gather(*running)
    return sorted(times)


async def measure(spec: dict[str, Any]) -> dict[str, Any]:
    jobs = await create_jobs(spec["url"])
    result: dict[str, Any] = {}
    async with WAYS[spec["way"]](spec["url"]) as poll:
        await polled(poll, jobs, 100, 10)
        for burst in BURSTS:
            cpu = time.process_time()
            times = await polled(poll, jobs, spec["count"], burst)
            cpu = time.process_time() - cpu
            result[f"cpu_ms_{burst}"] = 1e3 * cpu / spec["count"]
            result[f"latency_p50_ms_{burst}"] = 1e3 * percentile(times, 0.5)
    return result


if __name__ == "__main__":
    use_extra_packages()
    print("\n" + json.dumps(asyncio.run(measure(json.load(sys.stdin)))))
