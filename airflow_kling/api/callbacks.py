"""Makes and checks the callback URLs that Kling is given: ``<base>/<name>/<token>``.

The name stands for an ``external_task_id``. The token is an HMAC of the name, so only who was given the URL can use it.
It says nothing of who calls: Kling, the gateway and every log between them know the URL. So a callback is a hint.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

# Keeps the key apart from whatever else the same secret, which may be the API key, signs.
_PURPOSE = b"airflow_kling callback url, version 1"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}|~[0-9a-f]{64}")


def callback_name(external_task_id: str) -> str:
    """Return the name of an ``external_task_id`` in a URL and in the key of an object.

    :return: the id itself where it has 1 to 128 letters, digits, ``_`` and ``-`` only; else ``~`` and its SHA-256:
        servers, proxies and storages disagree on every other character.
    """
    if _PLAIN.fullmatch(external_task_id):
        return external_task_id
    return f"~{hashlib.sha256(external_task_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def make_callback_url(base_url: str, secret: str, external_task_id: str) -> str:
    """Return where Kling posts the changes of a task.

    :param base_url: of the receiver.
    :param secret: receiver and connection have the same.
    """
    name = callback_name(external_task_id)
    return f"{base_url.rstrip('/')}/{name}/{_token(secret, name)}"


def is_genuine(secret: str, name: str, token: str) -> bool:
    """Tell whether a URL with this name and token was made with the secret; takes as long for every wrong token."""
    expected = _token(secret, name).encode()
    same = hmac.compare_digest(expected, token.encode("utf-8", "replace"))
    return bool(_NAME.fullmatch(name)) and same


def _token(secret: str, name: str) -> str:
    key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
    digest = hmac.digest(key, name.encode("utf-8", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
