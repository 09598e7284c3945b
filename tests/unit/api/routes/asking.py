"""Asks for generations of a route as an operator does, and returns the body that is sent or the refusal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pytest

from airflow_kling.api import protocol
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import build_request, for_gateway
from airflow_kling.api.route import Route
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates

A, B = "https://example.com/a.png", "https://example.com/b.png"
CLIP = "https://example.com/a.mp4"
ELEMENT = 829836802793406551  # of Kling's page: beyond 2**53
ALL = ("cometapi", "cometapi-v2", "official")


def _no_storage(url: str) -> BinaryIO:
    raise AssertionError(f"opened {url}")


@dataclass
class Asking:
    """A route, and the fields that are asked for if a test says nothing else."""

    route: Route
    base: dict[str, Any] = field(default_factory=dict)

    def fields(self, **changes: Any) -> dict[str, Any]:
        return {**dict.fromkeys(self.route.fields), **self.base, **changes}

    def request(self, gateway: str = "official", **changes: Any) -> KlingRequest:
        request, _ = build_request(self.route, self.fields(**changes), open_file=_no_storage)
        return for_gateway(self.route, request, GATEWAYS[gateway])

    def body(self, gateway: str = "official", **changes: Any) -> dict[str, Any]:
        request = self.request(gateway, **changes)
        sent = protocol.create_request(GATEWAYS[gateway], "https://h", self.route, request)
        body: dict[str, Any] = json.loads(sent.content)
        return body

    def url(self, gateway: str) -> str:
        request = self.request(gateway)
        api = GATEWAYS[gateway]
        return str(protocol.create_request(api, api.base_url, self.route, request).url)

    def refusal(self, gateway: str = "official", **changes: Any) -> str:
        with pytest.raises(KlingInputError) as caught:
            self.body(gateway, **changes)
        text = str(caught.value)
        assert text.endswith("; nothing was submitted.")
        assert text.count("nothing was submitted") == 1
        assert "\n" not in text
        assert len(text) < 300
        return text.removesuffix("; nothing was submitted.")

    def refused_in_the_dag_file(self, **changes: Any) -> str | None:
        """Return why the fields are refused while a DAG file is parsed; None where they are not."""
        try:
            templates.check_literals(self.route, self.fields(**changes))
        except KlingInputError as error:
            return str(error)
        return None


def urls(path: str) -> dict[str, str]:
    """Return where a route is on each gateway, of whose paths only the beginnings differ."""
    comet, official = "https://api.cometapi.com/kling/v1/", "https://api-singapore.klingai.com/v1/"
    return {"cometapi": comet + path, "cometapi-v2": comet + path, "official": official + path}
