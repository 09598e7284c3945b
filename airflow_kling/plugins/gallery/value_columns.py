"""Reads what the value of a generation's XCom says: SQL expressions over the JSON of archives and requests."""

from __future__ import annotations

from typing import Any

from airflow.models.xcom import XComModel
from sqlalchemy import case, func, or_

from airflow_kling.api.prices import pack_of
from airflow_kling.api.routes import DEFAULT_ROUTE, route_names
from airflow_kling.plugins.gallery.json_columns import text_at


def route() -> Any:
    """Return the expression for the route of a row."""
    # An archive names the route in its request record and itself; before there were others, none did.
    paths: list[str | tuple[str, ...]] = [("asked", "route"), "route"]
    return func.coalesce(*(text_at(XComModel.value, path) for path in paths), DEFAULT_ROUTE)


def pack() -> Any:
    """Return the expression for the pack out of which a row's route is billed."""
    packs = {name: pack_of(name) for name in route_names()}
    return case(packs, value=route(), else_=pack_of(""))


def in_prompt(text: str) -> Any:
    """Return the condition for rows whose prompt has this text."""
    # In an archive the request record is a part of the value; in a request it is the value.
    prompt = func.coalesce(text_at(XComModel.value, ("asked", "prompt")), text_at(XComModel.value, "prompt"))
    # SQLite's lower() knows ASCII only: what was typed exactly is always found.
    return or_(func.lower(prompt).contains(text.lower(), autoescape=True), prompt.contains(text, autoescape=True))
