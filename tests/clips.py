"""Real MP4 videos for tests, made with PyAV, and the numbers of their boxes changed."""

from __future__ import annotations

import struct
import tempfile
from functools import cache
from pathlib import Path

import av
from PIL import Image


@cache
def clip(
    width: int = 64,
    height: int = 48,
    frames: int = 12,
    *,
    rate: int = 12,
    codec: str = "libx264",
    header_first: bool = False,
    fragmented: bool = False,
    sound: bool = False,
) -> bytes:
    """Return an MP4 of ``frames / rate`` seconds, in which a bar moves."""
    flags = "+faststart" if header_first else "frag_keyframe+empty_moov" if fragmented else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(path, "w", format="mp4", options={"movflags": flags} if flags else {}) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            tone = container.add_stream("aac", rate=8000, layout="mono") if sound else None
            for number in range(frames):
                picture = Image.new("RGB", (width, height), "teal")
                picture.paste("white", (number * 3 % width, 0, number * 3 % width + 3, height))
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
            container.mux(stream.encode())
            if tone is not None:
                silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
                silence.sample_rate = 8000
                for plane in silence.planes:
                    plane.update(bytes(plane.buffer_size))  # its memory holds anything
                for number in range(8 * frames // rate):
                    silence.pts = number * 1024
                    container.mux(tone.encode(silence))
                container.mux(tone.encode())
        return path.read_bytes()


def position(data: bytes, name: bytes) -> int:
    """Return where the first box of a name has its name; the first 32 bytes list what the file is compatible with."""
    return data.index(name, 4 if name == b"ftyp" else 32)


def patched(data: bytes, name: bytes, offset: int, code: str, *values: int) -> bytes:
    """Write numbers into the body of the first box of a name.

    :param offset: in the body.
    :param code: as :mod:`struct` has it.
    """
    changed = bytearray(data)
    struct.pack_into(f">{code}", changed, position(data, name) + 4 + offset, *values)
    return bytes(changed)


def resized(data: bytes, name: bytes, size: int) -> bytes:
    """Say another size of the first box of a name."""
    return patched(data, name, -8, "I", size)
