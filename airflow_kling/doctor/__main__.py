"""Runs the doctor from the command line: ``python -m airflow_kling.doctor``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from airflow_kling.doctor import network, prices, surroundings
from airflow_kling.doctor.findings import Finding, any_failed
from airflow_kling.doctor.spend import Spending, price_sentence
from airflow_kling.doctor.transcript import Transcript
from airflow_kling.hooks.kling import KlingHook

if TYPE_CHECKING:
    from airflow_kling.api.connection import Settings


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    options = argparse.ArgumentParser(
        "python -m airflow_kling.doctor",
        description="Finds out what this account, network and Airflow can do. Exits 1 where a DAG would fail.",
    )
    add = options.add_argument
    add("--conn", default=KlingHook.default_conn_name, metavar="ID", help="Airflow connection (default %(default)s)")
    add(
        "--destination",
        metavar="URL",
        help="where archives will go, e.g. s3://bucket/prefix; tried with a few bytes",
    )
    add("--spend", action="store_true", help="submit a generation too, which costs money; asks first")
    add("--yes", action="store_true", help="with --spend: do not ask")
    add("--transcript", metavar="FILE", help="write what was sent and answered, without secrets, to attach to a report")
    return options


def examine(settings: Settings, destination: str | None, transcript: Transcript) -> Iterator[Finding]:
    """Make every free check of a usable connection."""
    yield from network.check_dns(settings)
    yield from network.check_gateways(settings, transcript)
    yield from network.check_clock(transcript)
    yield from prices.check_prices(settings)
    yield from surroundings.check_records(settings)
    if destination:
        yield from surroundings.check_storage("destination", destination)
    yield from surroundings.check_triggerer()
    yield from surroundings.check_plugin()
    yield from surroundings.check_versions()


def found_connection(settings: Settings, extra: dict[str, Any]) -> str:
    """Return the connection as JSON, with what was found and without its secrets."""
    secret = {name for name, field in type(settings).model_fields.items() if field.annotation is SecretStr}
    kept = settings.model_dump(mode="json", exclude_defaults=True, exclude={"host", *secret})
    fields: dict[str, Any] = {"conn_type": "kling", "password": "YOUR-API-KEY"}
    if settings.host:
        fields["host"] = settings.host
    return json.dumps({**fields, "extra": {"gateway": settings.gateway, **kept, **extra}})


def main(
    arguments: Sequence[str] | None = None,
    *,
    ask: Callable[[str], str] = input,
    write: Callable[[str], object] = print,
) -> int:
    """Examine, print each finding as it comes, and return the exit status."""
    options = parser().parse_args(arguments)
    transcript, findings = Transcript(), list[Finding]()

    def tell(found: Iterator[Finding] | list[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            write(str(finding))

    settings, of_connection = surroundings.check_connection(options.conn)
    tell(of_connection)
    if settings is not None:
        tell(examine(settings, options.destination, transcript))
        if options.spend and not any_failed(findings):
            write(price_sentence(settings))
            if options.yes or ask("Go on? [yes/no] ").strip().lower() in ("y", "yes"):
                spending = Spending(settings, transcript)
                tell(spending.run())
                write(f"Paid for: {', '.join(spending.created) or 'nothing'}.")
                write("The connection with what was found:")
                write(found_connection(settings, spending.extra))
            else:
                write("Nothing was submitted.")
    if options.transcript:
        with open(options.transcript, "w") as file:
            file.write("\n".join([*map(str, findings), "", *transcript.lines, ""]))
    return int(any_failed(findings))


if __name__ == "__main__":
    sys.exit(main())
