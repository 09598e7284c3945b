"""Stores objects in S3 and what speaks its protocol; endpoint and credentials come from an Airflow connection."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlencode

from airflow_kling.storage import aws
from airflow_kling.storage.base import Stored
from airflow_kling.storage.destination import ACCESS_ARGS, READ_ARGS
from airflow_kling.storage.keys import check_task_id
from airflow_kling.storage.s3_multipart import put_parts

#: S3 takes 5 GB in one PUT.
MAX_PUT: Final = 5_000_000_000
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # boto3 reads them where the connection names none
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}  # by the start of a region's name


class S3Store:
    """Store below ``s3://bucket/prefix``.

    An object of up to :data:`MAX_PUT` bytes is one PUT, which publishes it at once or not at all: a killed run leaves
    no half of an upload behind to be paid for, and S3 keeps the SHA-256 of the whole. In parts there is neither, so
    only what one PUT does not take goes that way, and is read where its hash is asked for. A failed upload in parts
    leaves nothing. A killed one stays, invisible and billed, until another one of the same object finds it a day
    later, or a rule of the bucket ends it (``AbortIncompleteMultipartUpload``).

    S3 compares what it receives with the SHA-256 of the verified bytes; with a checksum of ``extra_args`` instead where
    they name one, and with none where the connection says ``request_checksum_calculation=when_required``, for servers
    that know none; the bytes are read then where their hash is asked for.

    The connection needs ``s3:ListBucket``, ``s3:PutObject`` and ``s3:GetObject``, and ``s3:DeleteObject`` only to clear
    up after an interrupted run; for uploads in parts ``s3:AbortMultipartUpload``, and
    ``s3:ListBucketMultipartUploads`` to find those of killed runs.

    :param prefix: without slashes around it; may be empty.
    :param aws_conn_id: Airflow connection, None for boto3's own ways.
    :param extra_args: of the upload, e.g. ``{"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": ...}``. The keys of the
        customer (SSE-C), ``RequestPayer`` and ``ExpectedBucketOwner`` go with every request that takes them.
    :param config: of botocore, such as ``{"connect_timeout": 3}``; comes before the connection's own.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        aws_conn_id: str | None,
        extra_args: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._aws_conn_id = aws_conn_id
        self._extra_args = dict(extra_args or {})
        self._access_args = {name: self._extra_args[name] for name in ACCESS_ARGS & self._extra_args.keys()}
        self._read_args = {name: self._extra_args[name] for name in READ_ARGS & self._extra_args.keys()}
        self._config = dict(config or {})

    @cached_property
    def _connection(self) -> Any:
        return aws.read_connection(self._aws_conn_id)

    @cached_property
    def _client(self) -> Any:
        return aws.s3_client(self._connection, self._config)

    def uri(self, key: str) -> str:
        """Return the full address of ``key``."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def keys(self, kling_task_id: str) -> set[str]:
        """Return the keys of all objects of a task, by one request: there are far fewer than its page of 1000."""
        prefix = f"{self._prefix}{check_task_id(kling_task_id)}/"
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **self._access_args)
        return {item["Key"].removeprefix(self._prefix) for item in answer.get("Contents", ())}

    def stat(self, key: str) -> Stored | None:
        """Return size and hash of an object, None if there is none.

        The hash is the checksum that S3 has made of the bytes. Where it has none, the hash is not known: what the
        metadata says is no proof, since tools copy them from one object to another.
        """
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]

        try:
            head = self._client.head_object(**self._object(key), **self._read_args, ChecksumMode="ENABLED")
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        return Stored(head["ContentLength"], _whole_checksum(head))

    def download(self, key: str, target: BinaryIO) -> bool:
        """Append an object to ``target`` piece by piece; return False if there is none."""
        from botocore.exceptions import ClientError

        try:
            body = self._client.get_object(**self._object(key), **self._read_args)["Body"]
        except ClientError as error:
            if _is_missing(error):
                return False
            raise
        for piece in body.iter_chunks(1024 * 1024):
            target.write(piece)
        return True

    def put(self, key: str, file: BinaryIO, *, content_type: str, sha256: str) -> str:
        """Stream the file in one PUT, or in parts where it is too large; ``sha256`` becomes metadata of the object."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        metadata = {**self._extra_args.get("Metadata", {}), "sha256": sha256}
        arguments = {**self._checksum(sha256), **self._extra_args, "ContentType": content_type, "Metadata": metadata}
        if size > MAX_PUT:
            checksums = self._checksum(sha256) != {}
            put_parts(self._client, self._object(key), file, size, arguments=arguments, checksums=checksums)
        else:
            self._client.put_object(**{**arguments, **self._object(key)}, Body=file)
        return self.uri(key)

    def remove(self, key: str) -> None:
        """Remove an object if there is one."""
        self._client.delete_object(**self._object(key))

    def remove_leftovers(self, kling_task_id: str) -> None:
        """Remove nothing: a PUT that was cut off leaves nothing."""

    def console_url(self, kling_task_id: str) -> str | None:
        """Return the address of a task's folder in the AWS console; the connection names the region.

        :return: None for an access point, and an endpoint that is not AWS's: there is no console for it.
        """
        if self._bucket.startswith("arn:"):
            return None
        if self._connection.get_service_endpoint_url("s3") or any(map(os.environ.get, _ENDPOINT_VARIABLES)):
            return None
        folder = f"{self._prefix}{kling_task_id}/"
        return console_folder_url(self._bucket, folder, region=self._connection.region_name)

    def _checksum(self, sha256: str) -> dict[str, str]:
        chosen = any(name.startswith("Checksum") for name in self._extra_args)
        if chosen or self._client.meta.config.request_checksum_calculation == "when_required":
            return {}
        return {
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key, **self._access_args}


def _whole_checksum(head: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of an object in hex; None where S3 has none, or one of the parts of a multipart upload."""
    found = head.get("ChecksumSHA256")
    # Not every server marks the checksum of parts; the ETag of such an object ends with their number everywhere.
    if not found or head.get("ChecksumType") == "COMPOSITE" or "-" in found or "-" in head.get("ETag", ""):
        return None
    return base64.b64decode(found).hex()


def _is_missing(error: Any) -> bool:
    return error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound")


def console_folder_url(bucket: str, prefix: str, *, region: str | None) -> str:
    """Return the address of the objects below a prefix, in the console of the region's partition.

    :param prefix: as in the keys, with its slash at the end.
    :param region: None where it is not known; the console finds the bucket's region then.
    """
    from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

    # China and the US government have consoles of their own, at other names.
    partition = next((name for start, name in _PARTITIONS.items() if (region or "").startswith(start)), "aws")
    console = BASE_AWS_CONSOLE_LINK.format(aws_domain=BaseAwsLink.get_aws_domain(partition))
    query = urlencode({**({"region": region} if region else {}), "prefix": prefix}, safe="/", quote_via=quote)
    return f"{console}/s3/buckets/{quote(bucket, safe='')}?{query}"
