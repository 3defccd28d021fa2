"""Rules for parameters: a deployment without any of them does what the operations page promises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.unit.template.reading import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template


def _promised() -> dict[str, str]:
    """Return the default of each parameter from the page's table."""
    table = OPERATIONS.partition("| parameter | default | |\n")[2].partition("\n\n")[0]
    promised: dict[str, str] = {}
    for row in table.splitlines()[1:]:
        names, defaults = (cell.replace("`", "").strip().split(", ") for cell in row.split("|")[1:3])
        promised |= zip(names, [""] * len(names) if not re.search(r"\w", defaults[0]) else defaults, strict=True)
    return promised


def a_default_is_the_one_that_the_operations_page_promises(template: Template) -> Iterator[str]:
    """Backups of 35 days, protected tables, events without personal data, tokens that end within a minute: people
    rely on these without reading the template."""
    defaults = {name: str(each.get("Default")) for name, each in template["Parameters"].items()}
    for name, default in sorted(defaults.items() ^ _promised().items()):
        yield f"the template and the page do not agree on {name}: {default}"


def a_default_is_one_of_the_values(template: Template) -> Iterator[str]:
    """CloudFormation refuses other values only when somebody deploys."""
    for name, each in template["Parameters"].items():
        default = each.get("Default")
        if default not in each.get("AllowedValues", [default]):
            yield f"{name}: {default} is not allowed"
        if not re.fullmatch(each.get("AllowedPattern", ".*"), str(default)):
            yield f"{name}: {default} does not match"
        if each["Type"] == "Number" and not each.get("MinValue", 0) <= default <= each.get("MaxValue", default):
            yield f"{name}: {default} is out of range"


RULES: Final[tuple[Rule, ...]] = (
    a_default_is_the_one_that_the_operations_page_promises,
    a_default_is_one_of_the_values,
)
