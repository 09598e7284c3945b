"""The whole way of an image with distinctive secrets: they are in no log, exception, repr, XCom or rendered field."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_kling.emulator import Account, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.triggers.task import KlingTaskTrigger

pytestmark = pytest.mark.usefixtures("quick")

KEY = "sk-DISTINCTIVEapikey0123456789"
ACCESS, SECRET = "DISTINCTIVEaccess0123456789", "DISTINCTIVEsecret-0123456789abcdef"
ACCOUNT = Account("default", KEY, ACCESS, SECRET)


class Everything(logging.Handler):
    """Every record of every logger as text, with its traceback and its raw arguments."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = io.StringIO()
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.loggers.add(record.name.partition(".")[0])
        self.text.write(f"{record.name} {record.getMessage()} {record.args}\n")
        if record.exc_info:
            self.text.write("".join(traceback.format_exception(*record.exc_info)))


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for kind in (KlingMultiImageToImageOperator, KlingTaskSensor, KlingArchiveImagesOperator, KlingTaskTrigger):
        monkeypatch.setattr(kind, "log", logging.getLogger("of_the_tests"), raising=False)
    for name in ("httpx", "httpcore", "aiohttp", "airflow_kling", "asyncio", "of_the_tests"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    logging.getLogger("httpx").manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def account(logs: Everything) -> Iterator[Emulator]:
    with serve(EmulatorConfig(accounts=(ACCOUNT,), image_size=64)) as emulator:
        yield emulator


@pytest.fixture(params=["key", "pair"])
def connected(request: pytest.FixtureRequest, account: Emulator, connect: Callable[..., str]) -> Emulator:
    """The same account by its API key, and by the pair that signs a token."""
    if request.param == "key":
        connect(account, gateway="cometapi")
    else:
        connect(account, gateway="official", password=None, extra={"access_key": ACCESS, "secret_key": SECRET})
    return account


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every JWT that is signed."""
    from airflow_kling.api import connection

    connection._jwt_auth.cache_clear()
    signed: list[str] = []
    encode = jwt.encode

    def spy(*args: Any, **kwargs: Any) -> str:
        signed.append(encode(*args, **kwargs))
        return signed[-1]

    monkeypatch.setattr(jwt, "encode", spy)
    return signed


def secrets(tokens: list[str]) -> list[str]:
    return [KEY, ACCESS, SECRET, *tokens]


def assert_none_in(text: str, tokens: list[str]) -> None:
    for secret in secrets(tokens):
        position = text.find(secret)
        assert position < 0, f"a secret is in: ...{text[max(0, position - 300) : position]}"


def events(trigger: KlingTaskTrigger) -> list[Any]:
    async def collect() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_the_way_of_an_image(
    connected: Emulator, logs: Everything, tokens: list[str], subjects: list[str], ti: Any, tmp_path: Path
) -> None:
    shown: list[Any] = []
    generate = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, prompt="two friends", n=2)
    generate.render_template_fields({"ti": ti})  # type: ignore[typeddict-item]
    task_id = generate.execute({"ti": ti})
    shown += [ti.xcoms, vars(generate), *(getattr(generate, name) for name in generate.template_fields)]

    sensor = KlingTaskSensor(task_id="wait", kling_task_id=str(task_id), poke_interval=0.02)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    connected.faults.add(on="query", action="error", code=5000, times=2)
    connected.faults.add(on="query", action="unknown_status", times=1)
    connected.advance(8)
    trigger = deferred.value.trigger
    assert isinstance(trigger, KlingTaskTrigger)
    shown += [trigger, trigger.serialize(), deferred.value.kwargs, payloads := events(trigger)]
    assert payloads[0]["status"] == "succeed"
    finished = sensor.execute_complete({}, payloads[0], **deferred.value.kwargs)
    shown += [vars(sensor)]

    archive = KlingArchiveImagesOperator(task_id="archive", task=finished, destination=f"file://{tmp_path}")
    connected.faults.add(on="image", action="expire_urls", times=1)
    shown += [archive.execute({}), vars(archive.hook)]
    shown += [file.read_text() for file in tmp_path.rglob("manifest.json")]
    assert len(list(tmp_path.rglob("*.png"))) == 2

    hook = KlingHook()
    shown += [hook, hook.settings, vars(hook), hook.test_connection(), hook.get_conn(), vars(hook.get_conn())]

    assert {"httpx", "httpcore", "airflow_kling"} <= logs.loggers
    text = logs.text.getvalue()
    assert_none_in(text, tokens)
    assert_none_in(repr(shown) + json.dumps(shown, default=str), tokens)
    assert "token=" not in text
    # Signed URLs travel from the sensor to the archive in XCom, and no further.
    assert "token=" in json.dumps(finished)
    assert "token=" not in json.dumps([ti.xcoms, payloads, deferred.value.kwargs])
    assert "token=" not in "".join(file.read_text() for file in tmp_path.rglob("manifest.json"))


FAULTS: list[dict[str, Any]] = [
    {"action": "error", "code": 1000},
    {"action": "error", "code": 1004},
    {"action": "error", "code": 1201},
    {"action": "error", "code": 1302},
    {"action": "error", "code": 5000},
    {"action": "html"},
    {"action": "redirect"},
    {"action": "drop"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_errors(
    fault: dict[str, Any], connected: Emulator, logs: Everything, tokens: list[str], subjects: list[str], ti: Any
) -> None:
    connected.faults.add(**fault)
    generate = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, submit_timeout=0)
    raised: list[BaseException] = []
    for call in (
        lambda: generate.execute({"ti": ti}),
        lambda: KlingHook().get_task("8334"),
        lambda: KlingHook().submit({"subject_images": subjects}),
    ):
        with pytest.raises(KlingError) as caught:
            call()
        raised.append(caught.value)
    shown = ["".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) for error in raised]
    shown += [str(KlingHook().test_connection())]
    assert_none_in("".join(shown) + logs.text.getvalue(), tokens)


WRONG: list[dict[str, Any]] = [
    {"password": f"{KEY}\n{KEY}"},
    {"password": f"{KEY}é"},
    {"host": f"https://user:{SECRET}@example.com"},
    {"gateway": "cometapi", "extra": {"access_key": ACCESS, "secret_key": SECRET}},
    {"gateway": "official", "extra": {"access_key": ACCESS}},
    {"gateway": "official", "extra": {"access_key": [ACCESS], "secret_key": {"a": SECRET}}},
    {"extra": {"timeout": SECRET}},
]


@pytest.mark.parametrize("fields", WRONG, ids=range(len(WRONG)))
def test_connection_that_cannot_work(
    fields: dict[str, Any], account: Emulator, connect: Callable[..., str], logs: Everything
) -> None:
    connect(account, **fields)
    with pytest.raises(KlingError) as caught:
        KlingHook().get_task("8334")
    text = "".join(traceback.format_exception(caught.value)) + str(KlingHook().test_connection())
    assert_none_in(text + logs.text.getvalue(), [])


def test_minted_tokens_and_the_pair_are_given_to_airflows_masking(
    account: Emulator, connect: Callable[..., str], tokens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_kling.hooks.kling.mask_secret", masked.append)
    connect(account, gateway="official", password=None, extra={"access_key": ACCESS, "secret_key": SECRET})
    with KlingHook().get_conn() as client:
        client.list()
    assert len(tokens) == 1
    assert {ACCESS, SECRET, *tokens} <= set(masked)


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ODD_ANSWERS = {
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "bad header": HEAD + b"a\x00b: c\r\n\r\n",
    "bad length": HEAD + b"Content-Length: -5\r\n\r\n",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "cut off": HEAD + b"Content-Length: 50\r\n\r\n{",
    "damaged gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[fe80::1%\xff]/\r\nContent-Length: 0\r\n\r\n",
    "refused": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_no_message_of_the_triggerers_client_holds_its_token(
    name: str,
    proxied: bool,
    raw_server: Any,
    account: Emulator,
    connect: Callable[..., str],
    logs: Everything,
    tokens: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its tokens are not masked, so there must be nothing to mask."""
    url, requests = raw_server(*[ODD_ANSWERS[name]] * 6)
    pair = {"access_key": ACCESS, "secret_key": SECRET}
    host = "https://kling.example" if proxied else url
    connect(account, host=host, gateway="official", password=None, extra=pair)
    if proxied:
        monkeypatch.setenv("https_proxy", url)
    caught: list[BaseException] = []

    async def ask() -> None:
        async with await KlingHook().get_async_conn() as client:
            for question in (client.status("8334"), client.get("8334", deadline=0), client.list_statuses(deadline=0)):
                with pytest.raises(KlingError) as error:
                    await question
                caught.append(error.value)

    asyncio.run(ask())
    assert proxied or (len(tokens) == 1 and all(tokens[0].encode() in request for request in requests))
    shown = ["".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) for error in caught]
    assert_none_in("".join(shown) + logs.text.getvalue(), tokens)
