"""Runs the emulator from the command line: ``python -m airflow_kling.emulator``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from airflow_kling.emulator.config import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_API_KEY,
    DEFAULT_SECRET_KEY,
    IMAGE_FORMATS,
    THIRTY_DAYS,
    Account,
    Duration,
    EmulatorConfig,
)

_VIDEO_SLOWER = 3
"""How many times longer than an image a video takes, unless an option says how long."""


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser("python -m airflow_kling.emulator", description="A local Kling API.")
    add = options.add_argument
    add("--host", default="127.0.0.1", help="address to bind; the control endpoints need no authentication")
    add("--port", type=int, default=8899, help="TCP port, 0 for a free one (default %(default)s)")
    add(
        "--allowed-host",
        action="append",
        metavar="NAME",
        default=[],
        dest="allowed_hosts",
        help="repeatable: a name by which clients call it, such as its service in Docker Compose",
    )
    add("--api-key", action="append", metavar="[NAME=]KEY", help=f"repeatable (default default={DEFAULT_API_KEY})")
    add("--access-key", default=DEFAULT_ACCESS_KEY, help="AccessKey of the first account (default %(default)s)")
    add("--secret-key", default=DEFAULT_SECRET_KEY, help="SecretKey of the first account (default %(default)s)")
    add(
        "--duration",
        type=Duration.parse,
        default=Duration(8.0),
        metavar="SECONDS|lognormal:MEDIAN:SIGMA",
        help="how long a task takes (default 8)",
    )
    add(
        "--video-duration",
        type=Duration.parse,
        metavar="SECONDS|lognormal:MEDIAN:SIGMA",
        help=f"how long a task of a video takes (default: {_VIDEO_SLOWER} times --duration)",
    )
    add("--concurrency", type=int, metavar="SLOTS", help="slots per account, more: 429/1303 (default: no limit)")
    add("--url-ttl", type=float, default=THIRTY_DAYS, metavar="SECONDS", help="life of a result URL (default 30 days)")
    add("--retention", type=float, default=THIRTY_DAYS, metavar="SECONDS", help="life of a task (default 30 days)")
    add("--allow-duplicate-external-ids", action="store_true", help="accept an external_task_id twice")
    add("--sparse", action="store_true", help="CometAPI gateways leave out optional fields")
    add("--wrapped", action="store_true", help="CometAPI gateways answer queries in the wrapped envelope")
    add("--image-size", type=int, default=1024, metavar="PIXELS", help="long side of results (default %(default)s)")
    add("--image-format", choices=IMAGE_FORMATS, default="png", help="format of results (default %(default)s)")
    add(
        "--fetch-references",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="download reference images given as URL",
    )
    add("--public-url", metavar="URL", help="base of result URLs (default: as the client called)")
    add("--webhook-secret", metavar="WHSEC", help="sign callbacks with it (default: they are not signed)")
    add(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="log every request to standard error",
    )
    return options


def accounts(keys: Sequence[str] | None, access_key: str, secret_key: str) -> tuple[Account, ...]:
    """The accounts of ``--api-key`` options; the first one has the AccessKey and the SecretKey."""
    found = []
    for position, text in enumerate(keys or [DEFAULT_API_KEY]):
        name, _, key = text.rpartition("=")
        name = name or ("default" if position == 0 else f"account-{position + 1}")
        pair = (access_key, secret_key) if position == 0 else (None, None)
        found.append(Account(name, key, *pair))
    return tuple(found)


def settings(options: argparse.Namespace) -> EmulatorConfig:
    """The settings that the options of a command line mean.

    :raises ValueError: one of them is out of range
    """
    # The other options have the names of the settings.
    given = dict(vars(options))
    given["video_duration"] = given["video_duration"] or given["duration"].times(_VIDEO_SLOWER)
    given["allowed_hosts"] = tuple(given["allowed_hosts"])
    keys = (given.pop("api_key"), given.pop("access_key"), given.pop("secret_key"))
    return EmulatorConfig(accounts=accounts(*keys), **given)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the emulator until SIGINT or SIGTERM."""
    options = parser()
    given = options.parse_args(arguments)
    try:
        config = settings(given)
    except ValueError as error:
        options.error(str(error))
    # Imported here: --help does not need the web server.
    from airflow_kling.emulator.server import run

    try:
        run(config)
    except OSError as error:
        options.exit(1, f"cannot listen on {config.host}:{config.port}: {error}\n")


if __name__ == "__main__":
    main()
