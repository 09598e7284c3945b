"""Everything that rows need: two emulators, the reference images, and an Airflow of each line."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.airflow.faults.airflows import airflow_2, airflow_3
from tests.airflow.faults.kling import Kling, kling
from tests.airflow.faults.lines import Line
from tests.airflow.faults.model import AIRFLOW_2, AIRFLOW_3

OPTIONS = {"strict": (), "lenient": ("--allow-duplicate-external-ids",)}
AIRFLOWS = {AIRFLOW_3: airflow_3, AIRFLOW_2: airflow_2}


@dataclass(frozen=True)
class World:
    """A running line of Airflow and the emulators it talks to.

    :param emulators: by account.
    :param picture: a reference image in base64.
    """

    line: Line
    emulators: dict[str, Kling]
    picture: str


@contextmanager
def world(line: str, home: Path) -> Iterator[World]:
    """Start everything on free ports; nothing of it is left afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    samples = [_sample(home / f"{colour}.png", colour) for colour in ("tomato", "steelblue")]
    with ExitStack() as stack:
        emulators = {
            account: stack.enter_context(kling(home / f"emulator-{account}.log", *options))
            for account, options in OPTIONS.items()
        }
        connections = {
            f"AIRFLOW_CONN_KLING_{gateway}_{account}".upper(): emulator.connection(gateway)
            for account, emulator in emulators.items()
            for gateway in ("cometapi", "official")
        }
        airflow = AIRFLOWS[line](home / "airflow", connections, os.pathsep.join(map(str, samples)))
        picture = base64.b64encode(samples[0].read_bytes()).decode()
        yield World(stack.enter_context(airflow), emulators, picture)


def _sample(file: Path, colour: str) -> Path:
    Image.new("RGB", (320, 320), colour).save(file)
    return file
