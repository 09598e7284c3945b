"""Renders the HTML templates, with every value escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_kling.plugins.gallery.static import versioned_url
from airflow_kling.reporting.gallery_urls import page_url


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, and not an empty text
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"static": versioned_url, "page_url": page_url}
    environment.filters["megabytes"] = lambda size: f"{size / 1e6:.1f} MB"
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["units"] = lambda number: f"{number:,.10g}"
    return environment


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template, filled in with these values."""
    return _environment().get_template(template).render(**values)
