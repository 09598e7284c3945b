"""What a process uses and how long its event loop is held up."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from array import array
from pathlib import Path
from typing import Any

from benchmarks.report import percentile

TICK = 0.01  # seconds


class LoopMeter:
    """A timer that goes off every 10 ms; what it is late, somebody held the loop.

    On a machine that others use too the timer is late for their sake, so it also measures the CPU that the loop takes
    between two waits for events, and that a garbage collection takes, which is one reason of a long one.
    """

    def __init__(self) -> None:
        self.lags = array("d")
        self.longest_turn = 0.0  # CPU seconds
        self.longest_collection = 0.0  # CPU seconds
        self._turn_began = self._collection_began = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> LoopMeter:
        self._again()
        self._selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        self._select = self._selector.select
        self._turn_began = time.thread_time()
        self._selector.select = self._wait
        gc.callbacks.append(self._collect)
        return self

    def __exit__(self, *_: object) -> None:
        del self._selector.select
        gc.callbacks.remove(self._collect)
        if self._timer:
            self._timer.cancel()

    def _wait(self, timeout: float | None = None) -> Any:
        self.longest_turn = max(self.longest_turn, time.thread_time() - self._turn_began)
        events = self._select(timeout)
        self._turn_began = time.thread_time()
        return events

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began = time.thread_time()
        else:
            self.longest_collection = max(self.longest_collection, time.thread_time() - self._collection_began)

    def _again(self) -> None:
        self._due = time.perf_counter() + TICK
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self.lags.append(max(0.0, time.perf_counter() - self._due))
        self._again()

    def summary(self) -> dict[str, float]:
        """Milliseconds."""
        lags = sorted(self.lags)
        return {
            "lag_p50_ms": 1e3 * percentile(lags, 0.5),
            "lag_p99_ms": 1e3 * percentile(lags, 0.99),
            "lag_max_ms": 1e3 * (lags[-1] if lags else 0.0),
            "turn_max_cpu_ms": 1e3 * self.longest_turn,
            "collection_max_cpu_ms": 1e3 * self.longest_collection,
        }


async def idle(seconds: float = 3.0) -> tuple[float, LoopMeter]:
    """A :class:`LoopMeter` on a loop with nothing else to do: CPU seconds for each tick, and the lag that the machine
    itself makes because other processes want the core too."""
    used = time.process_time()
    with LoopMeter() as meter:
        await asyncio.sleep(seconds)
    return (time.process_time() - used) / max(1, len(meter.lags)), meter


def rss() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """The peak of this process's memory over what it had, in bytes, while the ``with`` block lasts."""

    peak = 0

    def __enter__(self) -> PeakMemory:
        Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
        self._before = rss()
        return self

    def __exit__(self, *_: object) -> None:
        status = Path("/proc/self/status").read_text()
        self.peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024 - self._before
