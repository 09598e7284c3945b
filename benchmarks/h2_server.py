"""The emulator behind hypercorn, which speaks HTTP/2 without TLS where a client begins with it."""

from __future__ import annotations

import asyncio

from airflow_kling.emulator.config import EmulatorConfig
from benchmarks.kling_server import build
from benchmarks.processes import use_extra_packages
from deploy.local.processes import free_ports


async def main() -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    [port] = free_ports(1)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 60
    config.h2_max_concurrent_streams = 1000
    config.keep_alive_max_requests = 1_000_000  # by default it ends a connection after 1000
    _, app = build(EmulatorConfig(fetch_references=False))
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    await serve(app, config)  # type: ignore[arg-type]


if __name__ == "__main__":
    use_extra_packages()
    asyncio.run(main())
