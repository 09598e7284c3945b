"""From the image's URL to S3: this package's operator beside HttpToS3Operator and beside a streamed boto3 upload.

The same image server and the same S3 server (moto) for all; each contestant is a process of its own.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import boto3
import httpx

from benchmarks.archiving_contestant import BUCKET
from benchmarks.processes import connections, contestant, extra_packages, is_quick, listening
from benchmarks.report import progress, publish, table

NAMES: dict[str, str] = {
    "kling": "KlingArchiveImagesOperator",
    "http_to_s3": "HttpToS3Operator",
    "boto3": "boto3 upload_fileobj from a stream",
    "boto3_file": "boto3 upload_fileobj from a file",
}
PUTS = {"put_kling": "this package's PUT (boto3)", "put_boto3": "boto3 upload_file", "put_obstore": "obstore put"}
VIDEO = 200  # megabytes
VIDEO_WAYS = ("kling", "boto3", "boto3_file")
_numbers = itertools.count(0, 10_000)


@contextmanager
def servers() -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the image server's URL and the environment that leads to the S3 server."""
    with ExitStack() as running:
        s3 = running.enter_context(listening("benchmarks.s3_server", "s3", core=None))
        images = running.enter_context(listening("benchmarks.s3_server", "images", core=None))
        client(s3).create_bucket(Bucket=BUCKET)
        yield images, to_s3(s3) | connections(images)


def to_s3(endpoint: str) -> dict[str, str]:
    aws = {"conn_type": "aws", "login": "bench", "password": "bench"}
    aws |= {"extra": {"endpoint_url": endpoint, "region_name": "us-east-1"}}  # type: ignore[dict-item]
    return {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws), "AWS_ENDPOINT_URL": endpoint}


def client(url: str) -> Any:
    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=url, **keys)


def run(
    way: str, images: str, env: dict[str, str], megabytes: float, tasks: int, per_task: int, extension: str = "png"
) -> dict[str, Any]:
    progress(f"{way}: {tasks} x {per_task} {extension} of {megabytes:g} MB")
    url = f"{images}/{megabytes}.{extension}"
    size = len(httpx.get(url, timeout=120, trust_env=False).content)  # drawn once, before
    return measured(way, images, env, megabytes, tasks, per_task, size, extension)


def run_put(way: str, env: dict[str, str], megabytes: float, count: int) -> dict[str, Any]:
    progress(f"{way}: {count} files of {megabytes:g} MB")
    return measured(way, "", env, megabytes, 1, count, int(megabytes * 1e6))


def measured(
    way: str,
    images: str,
    env: dict[str, str],
    megabytes: float,
    tasks: int,
    per_task: int,
    size: int,
    extension: str = "png",
) -> dict[str, Any]:
    spec = {"way": way, "images": images, "megabytes": megabytes, "tasks": tasks, "per_task": per_task}
    spec["extension"] = extension
    result = contestant("benchmarks.archiving_contestant", spec | {"number": next(_numbers)}, env=env, core=None)
    count = tasks * per_task
    return {"way": way, "megabytes": megabytes, "images": count, **result} | {
        "mb_per_s": count * size / 1e6 / result["seconds"],
        "cpu_s_per_gb": result["cpu_s"] / (count * size / 1e9),
        "cpu_ms_per_object": 1e3 * result["cpu_s"] / count,
        "objects_per_s": count / result["seconds"],
    }


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: statistics.median(one[name] for one in runs) if isinstance(value, float) else value
        for name, value in runs[0].items()
    }


def main() -> None:
    quick = is_quick(__doc__)
    if not quick:
        extra_packages("obstore")
    rounds = 1 if quick else 3
    sizes = ((1, 4),) if quick else ((1, 20), (10, 4), (50, 1))  # megabytes, tasks of four images
    found: dict[tuple[float, str], list[dict[str, Any]]] = {}
    files = () if quick else ((0.1, 400), (4, 60), (50, 8), (200, 2))  # megabytes, uploads
    puts: dict[tuple[float, str], list[dict[str, Any]]] = {}
    video = 10 if quick else VIDEO
    videos: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        with servers() as (images, env):  # anew each time: moto keeps what it is given
            for megabytes, tasks in sizes:
                for way in ("kling", "http_to_s3", "boto3"):
                    found.setdefault((megabytes, way), []).append(run(way, images, env, megabytes, tasks, 4))
        with servers() as (images, env):
            for way in VIDEO_WAYS:
                videos.setdefault((video, way), []).append(run(way, images, env, video, 1, 1, "mp4"))
        with listening("benchmarks.s3_server", "sink", core=None) as sink:
            for megabytes, count in files:
                for way in PUTS:
                    puts.setdefault((megabytes, way), []).append(run_put(way, to_s3(sink), megabytes, count))
    moved = {key: median_of(runs) for key, runs in found.items()}
    clips = {key: median_of(runs) for key, runs in videos.items()}
    put = {key: median_of(runs) for key, runs in puts.items()}
    data = {"archiving": list(moved.values()), "videos": list(clips.values()), "puts": list(put.values())}
    publish("archiving", data, moved_table(moved), moved_table(clips, "video"), *([put_table(put)] if put else []))


def moved_table(moved: dict[tuple[float, str], dict[str, Any]], what: str = "image") -> str:
    head = [f"{what} MB", "way", "MB/s", "of boto3", "CPU s/GB", "peak MB over idle"]
    rows = [
        [
            megabytes,
            NAMES[way],
            one["mb_per_s"],
            one["mb_per_s"] / moved[megabytes, "boto3"]["mb_per_s"],
            one["cpu_s_per_gb"],
            one["peak_mb"],
        ]
        for (megabytes, way), one in moved.items()
    ]
    return table(head, rows)


def put_table(put: dict[tuple[float, str], dict[str, Any]]) -> str:
    head = ["file MB", "upload alone, 4 at once", "objects/s", "MB/s", "CPU ms an object", "peak MB over idle"]
    rows = [
        [megabytes, PUTS[way], one["objects_per_s"], one["mb_per_s"], one["cpu_ms_per_object"], one["peak_mb"]]
        for (megabytes, way), one in put.items()
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
