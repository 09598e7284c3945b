"""Servers, each in a process of its own.

`s3`: S3 over HTTP in memory (moto). `sink`: takes every PUT and keeps nothing, so that a client is what limits.
`images`: images and videos of a chosen size.
"""

from __future__ import annotations

import argparse
import io
import random
import signal
import tempfile
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image


@cache
def png(megabytes: float) -> bytes:
    """A PNG of about this size whose pixels compress as a photograph's do: to about two thirds."""
    side = int((megabytes * 1e6 / 3 / 0.66) ** 0.5)
    strip = random.Random(1).randbytes(side * 3 * 64)
    noise = Image.frombytes("RGB", (side, 64), strip).point(lambda value: value // 8)
    image = Image.new("RGB", (side, side))
    for top in range(0, side, 64):
        image.paste(noise, (0, top))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


@cache
def mp4(megabytes: float) -> bytes:
    """A video of about this size that FFmpeg has made: frames of noise in 1920x1080, each whole by itself."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(path, "w", format="mp4") as container:
            options = {"preset": "ultrafast", "qp": "4", "g": "1"}
            stream = container.add_stream("libx264", rate=24, options=options)
            stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
            noise = Image.frombytes("RGB", (1920, 1080), random.Random(1).randbytes(1920 * 1080 * 3))
            frame, left = av.VideoFrame.from_image(noise).reformat(format="yuv420p"), int(megabytes * 1e6)
            for number in range(100_000):
                frame.pts = number
                packets = stream.encode(frame)
                left -= sum(packet.size for packet in packets)
                container.mux(packets)
                if left <= 0:
                    break
            container.mux(stream.encode())
        return path.read_bytes()


FILES = {"png": png, "mp4": mp4}


class Images(BaseHTTPRequestHandler):
    """``GET /<anything>/<megabytes>.png`` or ``.mp4``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        size, _, extension = self.path.rpartition("/")[2].rpartition(".")
        body = FILES[extension](float(size))
        self.send_response(200)
        self.send_header("Content-Type", {"png": "image/png", "mp4": "video/mp4"}[extension])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Sink(BaseHTTPRequestHandler):
    """Answers as S3 does to an upload."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        left, piece = int(self.headers["Content-Length"]), memoryview(bytearray(1024 * 1024))
        while left and (count := self.rfile.readinto(piece[:left])):  # type: ignore[attr-defined]
            left -= count
        self.send_response(200)
        self.send_header("ETag", '"sink"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Begin or end an upload in parts."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = "InitiateMultipartUploadResult" if self.path.endswith("uploads") else "CompleteMultipartUploadResult"
        body = f'<{name}><UploadId>1</UploadId><ETag>"sink"</ETag></{name}>'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


HANDLERS = {"images": Images, "sink": Sink}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("s3", *HANDLERS))
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    what = parser.parse_args().what
    if what == "s3":
        from moto.server import ThreadedMotoServer

        moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        print(f"listening on http://{host}:{port}", flush=True)
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), HANDLERS[what])
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
