"""How the rules read a template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

type Template = dict[str, Any]
type Rule = Callable[[Template], Iterator[str]]
"""A rule yields what is wrong with a template, and nothing if it is right. Its docstring says why it matters."""

HOUR, DAY = 3_600, 86_400
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


class Consumer(NamedTuple):
    """A function that gets the messages of a queue, or the records of a stream, from Lambda."""

    function: str
    source: str
    """The queue or table."""
    kind: str
    """SQS or DynamoDB."""
    settings: dict[str, Any]


def read_template() -> Template:
    """Return the project's template without shared parts, so that a test may change a single value."""
    parsed: Template = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))))
    return parsed


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of all resources of a type, by their logical ids."""
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def target(reference: Any) -> str | None:
    """Return the logical id that a Ref or a GetAtt names, or None for anything else."""
    match reference:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return name
    return None


def functions(template: Template) -> dict[str, dict[str, Any]]:
    return resources(template, "AWS::Serverless::Function")


def time_limit(template: Template, function: str) -> float:
    """Return the seconds after which Lambda ends a function."""
    limit: float = functions(template)[function].get("Timeout", template["Globals"]["Function"].get("Timeout", 3))
    return limit


def events(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Return every event that calls a function, with the function."""
    return [
        (name, event)
        for name, properties in functions(template).items()
        for event in properties.get("Events", {}).values()
    ]


def consumers(template: Template) -> list[Consumer]:
    """Return which function consumes which queue or stream."""
    return [
        Consumer(function, target(settings.get("Queue", settings.get("Stream"))) or "nothing", event["Type"], settings)
        for function, event in events(template)
        if (settings := event["Properties"]) and event["Type"] in {"SQS", "DynamoDB"}
    ]


def consumed(template: Template) -> set[str]:
    """Return the queues and tables that functions consume."""
    return {consumer.source for consumer in consumers(template)}
