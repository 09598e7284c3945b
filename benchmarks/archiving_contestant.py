"""One way to bring images or videos from HTTP to S3, measured: time, CPU and peak memory."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from benchmarks.meter import PeakMemory
from benchmarks.processes import use_extra_packages

BUCKET = "bench"
AT_ONCE = 4  # as many uploads as an archive task has
Images = list[tuple[str, int]]  # URL and a number of its own
WARM_UP = 1_000_000  # above every number that is measured
WARM_UP_SIZE = {"png": 0.01, "mp4": 1}  # megabytes


def airflow_client() -> Any:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    return S3Hook("aws_default").get_conn()


def kling(images: Images) -> None:
    from airflow_kling.operators.archive import KlingArchiveImagesOperator

    results = [{"index": index, "url": url} for index, (url, _) in enumerate(images)]
    name = "videos" if images[0][0].endswith(".mp4") else "images"
    task = {"kling_task_id": str(images[0][1]), "status": "succeed", name: results}
    KlingArchiveImagesOperator(task_id="archive", task=task, destination=f"s3://{BUCKET}/kling", outlets=[]).execute({})


def http_to_s3(images: Images) -> None:
    from airflow.providers.amazon.aws.transfers.http_to_s3 import HttpToS3Operator

    for url, number in images:
        HttpToS3Operator(
            task_id="archive",
            http_conn_id="http_files",
            endpoint=url.partition("/")[2].partition("/")[2].partition("/")[2],
            s3_bucket=BUCKET,
            s3_key=f"http/{number}.png",
        ).execute({})


@cache
def session() -> Any:
    import requests

    return requests.Session()


def boto3_stream(images: Images) -> None:
    client = airflow_client()
    for url, number in images:
        with session().get(url, stream=True) as response:
            response.raise_for_status()
            client.upload_fileobj(response.raw, BUCKET, f"boto3/{number}.png")


def boto3_file(images: Images) -> None:
    """As an archive that is to be verified goes: to a file, and from there by boto3's own upload, in parts."""
    client = airflow_client()
    for url, number in images:
        with session().get(url, stream=True) as response, tempfile.TemporaryFile() as file:
            response.raise_for_status()
            shutil.copyfileobj(response.raw, file, 1024 * 1024)
            file.seek(0)
            client.upload_fileobj(file, BUCKET, f"boto3-file/{number}.png")


def put_kling(images: Images) -> None:
    """The upload alone: one PUT of a file."""
    store, (path, sha256) = _s3_store(), _file(images[0][0])

    def put(number: int) -> None:
        with open(path, "rb") as file:
            store.put(f"{number}/0.png", file, content_type="image/png", sha256=sha256)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, [number for _, number in images]))


def put_boto3(images: Images) -> None:
    """boto3's own upload of a file, in parts from 8 MB on."""
    client, (path, _) = airflow_client(), _file(images[0][0])

    def put(number: int) -> None:
        client.upload_file(path, BUCKET, f"put-boto3/{number}/0.png")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, [number for _, number in images]))


def put_obstore(images: Images) -> None:
    import obstore

    store, (path, sha256) = _obstore(), _file(images[0][0])

    def put(number: int) -> None:
        with open(path, "rb") as file:
            attributes = {"Content-Type": "image/png", "sha256": sha256}
            obstore.put(store, f"put-obstore/{number}/0.png", file, attributes=attributes, use_multipart=False)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, [number for _, number in images]))


@cache
def _s3_store() -> Any:
    from airflow_kling.storage.s3 import S3Store

    return S3Store(BUCKET, "put-kling", aws_conn_id="aws_default")


@cache
def _obstore() -> Any:
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        access_key_id="bench",
        secret_access_key="bench",
        region="us-east-1",
        client_options={"allow_http": True},
    )


@cache
def _file(url: str) -> tuple[str, str]:
    """A file as large as the image of this URL, and its hash."""
    block, digest = os.urandom(10_000), hashlib.sha256()
    with tempfile.NamedTemporaryFile(delete=False) as file:
        for _ in range(round(float(url.rpartition("/")[2].rpartition(".")[0]) * 100)):
            file.write(block)
            digest.update(block)
    atexit.register(os.unlink, file.name)
    return file.name, digest.hexdigest()


WAYS: dict[str, Callable[[Images], None]] = {
    "kling": kling,
    "http_to_s3": http_to_s3,
    "boto3": boto3_stream,
    "boto3_file": boto3_file,
    "put_kling": put_kling,
    "put_boto3": put_boto3,
    "put_obstore": put_obstore,
}


def main(spec: dict[str, Any]) -> dict[str, float]:
    use_extra_packages()
    move = WAYS[spec["way"]]
    extension = spec.get("extension", "png")
    move([(f"{spec['images']}/{WARM_UP_SIZE[extension]}.{extension}", WARM_UP + spec["number"])])
    batches = [
        [
            (f"{spec['images']}/{spec['megabytes']}.{extension}", spec["number"] + batch * spec["per_task"] + one)
            for one in range(spec["per_task"])
        ]
        for batch in range(spec["tasks"])
    ]
    began, cpu = time.perf_counter(), time.process_time()
    with PeakMemory() as memory:
        for batch in batches:
            move(batch)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": memory.peak / 1e6,
    }


if __name__ == "__main__":
    print("\n" + json.dumps(main(json.load(sys.stdin))))
