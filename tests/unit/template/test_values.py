"""Each value in the template that has a reason has a rule that states it. None can change unless a rule allows it.

The rules are beside this file, with a module for each kind of value. A rule never repeats a value. It says what must
hold between two values, or between a value and the code, a limit of AWS, or a promise in the documentation.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.unit.template import alarms, gateway, parameters, queues, storage, time_limits
from tests.unit.template.reading import Template, functions, read_template, resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule

type Path = tuple[str | int, ...]

RULES: Final = (
    *time_limits.RULES,
    *queues.RULES,
    *storage.RULES,
    *alarms.RULES,
    *gateway.RULES,
    *parameters.RULES,
)
TEMPLATE: Final = read_template()
REMOVED: Final = object()


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_template_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(TEMPLATE)) == []


# The template's mutants.


def governed() -> list[Path]:
    """Return the places of the values that the rules govern."""
    found: list[Path] = [("Globals", "Function", "Timeout")]
    for name, properties in functions(TEMPLATE).items():
        where = ("Resources", name, "Properties")
        found += [(*where, "Timeout")] if "Timeout" in properties else []
        events = properties.get("Events", {}).items()
        for event, each in events:
            part = (*where, "Events", event, "Properties")
            if each["Type"] != "Api":
                found.append(part)
            elif "Auth" in each["Properties"]:
                found.append((*part, "Auth"))
    for name in resources(TEMPLATE, "AWS::SQS::Queue"):
        where = ("Resources", name, "Properties")
        found += [(*where, part) for part in TEMPLATE["Resources"][name]["Properties"] if part not in _ENCRYPTION]
    for name, table in resources(TEMPLATE, "AWS::DynamoDB::Table").items():
        parts = ("TimeToLiveSpecification", "StreamSpecification")
        found += [("Resources", name, "Properties", part) for part in parts if part in table]
    found += [
        ("Resources", name, "Properties")
        for kind in ("AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter")
        for name in resources(TEMPLATE, kind)
    ]
    found += [("Parameters", name, "Default") for name in TEMPLATE["Parameters"]]
    found += [("Parameters", name, "MinValue") for name in ("ImportFileDays", "ReportDays")]
    found += [("Resources", "Api", "Properties", part) for part in ("MethodSettings", "Auth")]
    bucket = ("BucketEncryption", "LifecycleConfiguration", "NotificationConfiguration")
    found += [("Resources", "ImportBucket", "Properties", part) for part in bucket]
    found.append(("Resources", "ImportBucket", "DependsOn"))
    found.append(("Resources", "DataKey", "Properties", "EnableKeyRotation"))
    return found


_ENCRYPTION: Final = frozenset({"SqsManagedSseEnabled", "KmsMasterKeyId"})

ACCEPTED: Final = {
    "MaximumConcurrency": "how fast imports are is whoever deploys decides; `test_threat_model.py` demands a limit",
    "ParallelizationFactor": "how fast changes are told; those of one customer stay in order whatever it is",
    ("Changes", "BatchSize"): "how many changes Lambda hands over; the function takes any number",
    ("Rules", "Id"): "a rule's name",
}
"""Values that may change without a rule, and why."""


def leaves(part: Any, where: Path) -> Iterator[Path]:
    """Return the places of the single values in a part of the template. A reference to a resource is a single value."""
    match part:
        case {"Ref": _} | {"Fn::GetAtt": _}:
            yield where
        case dict():
            for key, value in part.items():
                yield from leaves(value, (*where, key))
        case list():
            for index, value in enumerate(part):
                yield from leaves(value, (*where, index))
        case _:
            yield where


def changes(value: Any) -> list[Any]:
    """Return what a value might be changed to by mistake."""
    match value:
        case bool():
            return [not value, REMOVED]
        case int():
            return [value * 2 or 1, value // 2 if value > 1 else value + 1, REMOVED]
        case str():
            return ["Mutant", REMOVED]
        case {"Ref": _}:
            return [{"Ref": "Mutant"}, REMOVED]
        case _:
            return [{"Fn::GetAtt": ["Mutant", "Arn"]}, REMOVED]


@contextmanager
def changed(template: Template, where: Path, value: Any) -> Iterator[None]:
    """Change one value of a template while the block runs."""
    *parents, last = where
    part: Any = template
    for step in parents:
        part = part[step]
    before = json.dumps(part)
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    try:
        yield
    finally:
        part.clear()
        (part.extend if isinstance(part, list) else part.update)(json.loads(before))


def value_at(where: Path) -> Any:
    part: Any = TEMPLATE
    for step in where:
        part = part[step]
    return part


def is_accepted(where: Path) -> bool:
    return any(set(one if isinstance(one, tuple) else (one,)) <= set(where) for one in ACCEPTED)


def finds(rule: Rule, template: Template) -> bool:
    try:
        return next(rule(template), None) is not None
    except (AttributeError, KeyError, TypeError, ValueError):
        # The rule cannot read the value, so its test fails too.
        return True


LEAVES: Final = [where for part in governed() for where in leaves(value_at(part), part) if not is_accepted(where)]


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """Return the names of the rules that find each mutant."""
    template, found = read_template(), dict[str, set[str]]()
    for where in LEAVES:
        for value in changes(value_at(where)):
            name = f"{'.'.join(map(str, where))} → {'removed' if value is REMOVED else value}"
            with changed(template, where, value):
                found[name] = {rule.__name__ for rule in RULES if finds(rule, template)}
    assert template == TEMPLATE
    return found


def test_no_value_that_the_rules_govern_can_change_unnoticed(found: dict[str, set[str]]) -> None:
    assert len(found) > 800
    assert [mutant for mutant, by in found.items() if not by] == []


def test_every_rule_finds_something(found: dict[str, set[str]]) -> None:
    assert {rule.__name__ for rule in RULES} - set[str]().union(*found.values()) == set()


def test_every_functions_time_limit_has_a_rule() -> None:
    assert functions(TEMPLATE).keys() == {
        *time_limits.SLOWEST, "PlanImport", "ImportCustomers", "CloseImport", "PublishChanges", "KeepHistory",
    }  # fmt: skip
