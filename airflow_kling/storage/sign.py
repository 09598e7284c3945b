"""Signs the URL of an object, by which Kling fetches a reference that it takes, or is to take, as a URL.

A signed URL is a secret: whoever has it reads the object. So it is in the request alone, in no record and no message.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_kling.api.hosts import is_local
from airflow_kling.api.redact import redact_url
from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage import aws
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.open import AWS_CONN_ID, object_path

log = logging.getLogger(__name__)

#: Signature version 4 lasts no longer; source: AWS, "Sharing objects with presigned URLs" [C].
LONGEST: Final = 7 * 86_400
#: Beside the queue and the generation: for clocks that differ, and a last retry of Kling's own.
MARGIN: Final = 3600


def lasting(submit_timeout: float, deadline: float) -> int:
    """Return the seconds that a signed URL has to last: the queue, the generation and a margin.

    :param submit_timeout: seconds that a submission may wait to be taken.
    :param deadline: seconds that a generation of the route may take.
    """
    return int(min(LONGEST, submit_timeout + deadline + MARGIN))


def sign_url(address: str, *, name: str, seconds: int, allow_private_hosts: bool = False) -> str:
    """Return a URL by which anybody can read an object for a while.

    :param address: ``s3://bucket/key``, or of another storage whose fsspec file system can sign; a connection in it
        comes before the storage's default one.
    :param name: how errors call the reference.
    :param seconds: how long it has to last.
    :param allow_private_hosts: the URL may be of a host that is not public.
    :raises KlingInputError: it cannot be signed, or Kling could not reach its host.
    """
    shown = redact_url(address)
    try:
        url = _sign_s3(address, name, seconds) if address.startswith("s3://") else _sign_other(address, seconds)
    except KlingInputError:
        raise
    except NotImplementedError:
        raise KlingInputError(
            f"{name} lies at {shown}, a storage that cannot sign URLs: put it into S3, Google Cloud Storage or Azure, "
            "or give an http(s) URL; nothing was submitted."
        ) from None
    except Exception as error:  # each storage library has errors of its own, and their messages may hold a secret
        code = getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__
        raise KlingInputError(
            f"{name} lies at {shown}, and its URL cannot be signed ({code}): check that it is there, and that the "
            "connection's credentials may read and sign; nothing was submitted."
        ) from None
    host = urlsplit(url).hostname or ""
    if is_local(host) and not allow_private_hosts:
        raise KlingInputError(
            f"{name} lies at {shown}, whose signed URL leads to {host}, which Kling's servers cannot reach: give the "
            "storage's connection a public endpoint_url; nothing was submitted."
        )
    return url


def _sign_s3(address: str, name: str, seconds: int) -> str:
    place = Destination.parse(address)
    connection = aws.read_connection(place.connection(AWS_CONN_ID))
    # The older signature, botocore's default for URLs in some regions, knows neither newer regions nor KMS.
    version = getattr(connection.botocore_config, "signature_version", None) or "s3v4"
    client = aws.s3_client(connection, {"signature_version": version})
    _warn_of_session(client, name, seconds)
    item = {"Bucket": place.bucket, "Key": place.prefix}
    # It fails here, and not at Kling, where the key is wrong; and botocore learns the region of the bucket.
    client.head_object(**item)
    url: str = client.generate_presigned_url("get_object", Params=item, ExpiresIn=seconds)
    return url


def _warn_of_session(client: Any, name: str, seconds: int) -> None:
    """Temporary credentials end a signed URL with themselves, whatever it says."""
    credentials = client._request_signer._credentials
    if not getattr(credentials, "token", None):
        return
    expiry = getattr(credentials, "_expiry_time", None)
    if expiry is None:
        log.warning(
            "%s is sent as a URL that is signed with a session token: it ends with the session, which has to last "
            "%d minutes for the queue and the generation.",
            name,
            seconds // 60,
        )
    elif (left := expiry - datetime.now(UTC)) < timedelta(seconds=seconds):
        log.warning(
            "%s is sent as a URL that ends in %d minutes, with the session that signs it; the queue and the generation "
            "may take %d. Longer sessions, or a key of a user, last longer.",
            name,
            left.total_seconds() // 60,
            seconds // 60,
        )


def _sign_other(address: str, seconds: int) -> str:
    path = object_path(address)
    url: str = path.fs.sign(path.path, expiration=seconds)
    return url
