"""What hostile images cost: little memory and time, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.unit.media import crafted
from tests.unit.media.crafted import END, chunk, header, png

MIB = 1024 * 1024
# What the limit of an archive task leaves to the rest of it.
MAX_MEMORY_MIB = 140
MAX_SECONDS = 30

MEASURE = """
import sys, time
from io import BytesIO
from airflow_kling.exceptions import KlingImageError
from airflow_kling.media.probe import probe

def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def look(path):
    with open(path, "rb") as file:
        try:
            probe(file, url="", max_pixels=80_000_000)
        except KlingImageError:
            pass

look(sys.argv[1])  # modules are not the image's cost
open("/proc/self/clear_refs", "w").write("5")
before, start = kib("VmRSS"), time.process_time()
look(sys.argv[2])
print((kib("VmHWM") - before) / 1024, time.process_time() - start)
"""


def many_scans() -> bytes:
    """A progressive JPEG near the largest that is decoded, with the most scans that then are."""
    return crafted.progressive_jpeg(4000, 4000, scans=31)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "make",
    [
        lambda: crafted.progressive_jpeg(2200, 2200, scans=100),
        many_scans,
        lambda: crafted.progressive_jpeg(8900, 8900, scans=100),
        lambda: crafted.grey_jpeg(8000, 10_000, scans=3),
        lambda: crafted.grey_jpeg(4300, 4300, scans=3),
        lambda: crafted.lossless_jpeg(6000, 6000),
        lambda: b"\xff\xd8" + crafted.segment(0xE1, b"") * (16 * MIB),
        lambda: b"\xff\xd8" + crafted.segment(0xE1, bytes(65_000)) * 1000 + crafted.grey_jpeg(64, 64)[2:],
        lambda: b"\xff\xd8" + b"\xff" * (64 * MIB),
        lambda: crafted.grey_jpeg(64, 64)[:-2] + b"\xff\xd0" * (32 * MIB) + b"\xff\xd9",
        lambda: crafted.animated_webp(8900),
        lambda: crafted.riff(crafted.webp_chunk(b"EXIF", b"") * (8 * MIB)),
        lambda: png(header(), chunk(b"tEXt", b"") * (5 * MIB), END),
        lambda: png(header(8000, 10_000, 16, 6), chunk(b"IDAT", zlib.compress(bytes(640_010_000), 1)), END),
    ],
)
def test_what_it_costs(make, tmp_path: Path) -> None:
    small, hostile = tmp_path / "small", tmp_path / "hostile"
    small.write_bytes(crafted.grey_jpeg(64, 64))
    hostile.write_bytes(make())
    command = [sys.executable, "-c", MEASURE, str(small), str(hostile)]
    memory, seconds = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert memory < MAX_MEMORY_MIB
    assert seconds < MAX_SECONDS
