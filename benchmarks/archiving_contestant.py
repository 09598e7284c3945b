"""One way to bring images from HTTP to S3, measured: time, CPU and peak memory."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from benchmarks.meter import PeakMemory
from benchmarks.processes import use_extra_packages

BUCKET = "bench"
AT_ONCE = 16
Images = list[tuple[str, int]]  # URL and a number of its own
WARM_UP = 1_000_000  # above every number that is measured


def airflow_client() -> Any:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    return S3Hook("aws_default").get_conn()


def kling(images: Images) -> None:
    from airflow_kling.operators.archive import KlingArchiveImagesOperator

    task = {
        "kling_task_id": str(images[0][1]),
        "status": "succeed",
        "images": [{"index": index, "url": url} for index, (url, _) in enumerate(images)],
    }
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


def put_boto3(images: Images) -> None:
    """The upload alone, many at once."""
    import io

    from boto3.s3.transfer import TransferConfig

    client, body, config = airflow_client(), _body(), TransferConfig(use_threads=False)

    def put(number: int) -> None:
        client.upload_fileobj(io.BytesIO(body), BUCKET, f"put-boto3/{number}", Config=config)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, [number for _, number in images]))


def put_obstore(images: Images) -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        access_key_id="bench",
        secret_access_key="bench",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    body = _body()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda one: obstore.put(store, f"put-obstore/{one[1]}", body), images))


@cache
def _body() -> bytes:
    return os.urandom(4_000_000)


WAYS: dict[str, Callable[[Images], None]] = {
    "kling": kling,
    "http_to_s3": http_to_s3,
    "boto3": boto3_stream,
    "put_boto3": put_boto3,
    "put_obstore": put_obstore,
}


def main(spec: dict[str, Any]) -> dict[str, float]:
    use_extra_packages()
    move = WAYS[spec["way"]]
    move([(f"{spec['images']}/0.01.png", WARM_UP + spec["number"])])
    batches = [
        [
            (f"{spec['images']}/{spec['megabytes']}.png", spec["number"] + batch * spec["per_task"] + one)
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
