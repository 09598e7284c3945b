"""Defines the rules between the fields of a request, and those that depend on its model: data and small functions.

A rule names the fields that it reads. While a DAG file is parsed, only rules all of whose fields are known are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from airflow_kling.api.values import shortened


class Rule(NamedTuple):
    """A rule between fields.

    :param fields: that it reads.
    :param broken: says of a request in what it breaks the rule, as a clause; None where it keeps it.
    """

    fields: tuple[str, ...]
    broken: Callable[[Any], str | None]


class Allowed(NamedTuple):
    """What a model, or a gateway, takes of a field.

    :param values: those that it takes; None for every value, empty for no value at all.
    :param needs: values of other fields with which alone the field may be given, the one to recommend first; None among
        them where that field may be left out.
    :param free: values of the field that need nothing.
    """

    values: tuple[Any, ...] | None = None
    needs: Mapping[str, tuple[Any, ...]] = MappingProxyType({})
    free: tuple[Any, ...] = ()


NOT_TAKEN = Allowed(values=())
#: What each model takes of each field; what is not in it is taken as the field itself says.
ModelTable = Mapping[str, Mapping[str, Allowed]]


def is_given(value: Any) -> bool:
    """Tell whether a validated field holds something."""
    return value is not None and value != []


def broken_rules(rules: Iterable[Rule], request: Any, known: Collection[str]) -> list[str]:
    """Return a clause for each rule that a request breaks.

    :param known: fields of the request; a rule that reads another one is left out.
    """
    readable = (rule for rule in rules if set(rule.fields) <= set(known))
    return [clause for rule in readable if (clause := rule.broken(request))]


def model_rules(table: ModelTable) -> tuple[Rule, ...]:
    """Return a rule for each field of the table."""
    rules = []
    for name in dict.fromkeys(name for fields in table.values() for name in fields):
        needed = {other for fields in table.values() if name in fields for other in fields[name].needs}
        rules.append(Rule(("model_name", name, *sorted(needed)), partial(_broken_by_model, table, name)))
    return tuple(rules)


def rules_of(who: str, allowed: Mapping[str, Allowed]) -> tuple[Rule, ...]:
    """Return a rule for each field of which a gateway takes less than others.

    :param who: as messages name it.
    """
    return tuple(Rule((name, *one.needs), partial(_broken_by_gateway, one, name, who)) for name, one in allowed.items())


def _broken_by_gateway(allowed: Allowed, name: str, who: str, request: Any) -> str | None:
    return broken_by(allowed, name, request, who=who)


def _broken_by_model(table: ModelTable, name: str, request: Any) -> str | None:
    allowed = table.get(request.model_name, {}).get(name)
    return allowed and broken_by(allowed, name, request, who=f"model {request.model_name!r}")


def broken_by(allowed: Allowed, name: str, request: Any, *, who: str) -> str | None:
    """Say in what a field is not what ``who`` takes; None where it is."""
    value = getattr(request, name)
    if not is_given(value) or value in allowed.free:
        return None
    said = f"{name} is {shortened(value)}" if allowed.free else f"{name} is given"
    if allowed.values is not None and value not in allowed.values:
        if not allowed.values:
            return f"{name} is given, but {who} does not take it: leave it out"
        return f"{name} is {shortened(value)}, but {who} takes {' or '.join(map(repr, allowed.values))}"
    for other, wanted in allowed.needs.items():
        found = getattr(request, other)
        if found not in wanted:
            return f"{said}, but {who} takes it only with {other} {wanted[0]!r}, and {other} is {found!r}"
    return None
