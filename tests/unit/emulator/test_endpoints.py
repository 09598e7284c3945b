"""Which endpoint a request is for, and which fields it knows."""

from __future__ import annotations

import pytest

from airflow_kling.emulator.endpoints import Endpoint, Route, Variant, choose, endpoints_by_path
from airflow_kling.emulator.fields import choice, text
from airflow_kling.emulator.gateways import COMETAPI, OFFICIAL

WHOLE = Route("whole", {"a": text(9)}, (Variant(COMETAPI, "things"),), (), price=len)
PART = Route("part", {"b": text(9)}, (Variant(COMETAPI, "things", when="b"), Variant(OFFICIAL, "parts")), (), price=len)


@pytest.mark.parametrize("routes", [(WHOLE, PART), (PART, WHOLE)])
@pytest.mark.parametrize(
    ("body", "name"), [({"b": ""}, "part"), ({"a": ""}, "whole"), ({}, "whole"), ([], "whole"), (None, "whole")]
)
def test_the_body_chooses_on_a_shared_path(routes, body, name):
    assert choose(endpoints_by_path(routes)["/kling/v1/things"], body).route.name == name


def test_a_route_that_is_alone_takes_every_request():
    by_path = endpoints_by_path([PART])
    assert list(by_path) == ["/kling/v1/things", "/v1/parts"]
    assert choose(by_path["/kling/v1/things"], {}).route is PART


def test_a_variant_has_rules_spellings_and_gaps_of_its_own():
    general, special = text(9), choice("x")
    first = Variant(COMETAPI, "p", {"a": special}, spelling={"b": "bee"}, lacks=frozenset({"c"}))
    route = Route("r", dict.fromkeys("abc", general), (first, Variant(OFFICIAL, "p")), (), price=len)
    comet, official = (Endpoint(route, variant) for variant in route.variants)
    assert comet.rules == {"a": ("a", special), "b": ("bee", general)}
    assert comet.foreign_fields == {"b", "c"}
    assert official.rules == {name: (name, general) for name in "abc"}
    assert official.foreign_fields == {"bee"}
