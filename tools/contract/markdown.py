"""The pages for people: the problem types, and the tables of the API reference."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tools.contract.specification import UNSPOKEN, problem_answers, problem_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tools.contract.facts import Facts, Operation
    from tools.contract.words import Words

_TABLE: Final = re.compile(r"(<!-- `make openapi` writes: ([\w ]+) -->\n).*?(<!-- until here -->)", re.DOTALL)
_POWER: Final = 2**53 - 1


def problems_page(facts: Facts, words: Words) -> str:
    """Return the page of problem types, `problems.md`."""
    lines = [
        "# Problem types",
        "",
        "<!-- Written by `make openapi` from the code, the template and tools/contract/words.yaml. -->",
        "",
        words("problems_page", "types"),
        "",
        *_table(
            ("type", "status", "when"),
            (
                (f"[`/problems/{name}`](#{name})", answers[0].status, problem_words(words, name, "when"))
                for name, answers in problem_answers(facts).items()
            ),
        ),
    ]
    for name, answers in problem_answers(facts).items():
        sample = next((answer for answer in answers if "errors" in (answer.body or {})), answers[0])
        headers = [key for key in sample.headers if key not in UNSPOKEN | {"X-Request-Id"}]
        told = (
            f" The response has {' and '.join(f'`{key}: {sample.headers[key]}`' for key in headers)}."
            if headers
            else ""
        )
        lines += [
            "",
            f"## {name}",
            "",
            f"Status {sample.status}. {problem_words(words, name, 'when')}{told}",
            "",
            f"What to do: {problem_words(words, name, 'do')}",
            "",
            "```json",
            json.dumps(sample.body, indent=2, ensure_ascii=False),
            "```",
        ]
    lines += [
        "",
        "## Error codes",
        "",
        words("problems_page", "codes"),
        "",
        *_table(("code", "meaning"), ((f"`{code}`", words("codes", code)) for code in facts.error_codes)),
    ]
    return "\n".join(lines) + "\n"


def with_tables(page: str, facts: Facts, words: Words) -> str:
    """Return a page with up-to-date tables."""
    tables = {
        "operations": _operations(facts, words),
        "customer": _customer(facts),
        **{f"parameters of {operation.id}": _parameters(operation, words) for operation in facts.operations},
    }

    def renewed(match: re.Match[str]) -> str:
        return "\n".join([match[1].rstrip("\n"), *tables[match[2]], match[3]])

    return _TABLE.sub(renewed, page)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    names = list(head)
    return [_row(names), _row("---" for _ in names), *map(_row, rows)]


def _row(cells: Iterable[object]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _operations(facts: Facts, words: Words) -> list[str]:
    return _table(
        ("call", "what it does", "scope"),
        (
            (
                f"`{operation.method} {operation.path}`",
                words("operations", operation.id, "summary"),
                f"`{operation.scope}`",
            )
            for operation in facts.operations
        ),
    )


def _parameters(operation: Operation, words: Words) -> list[str]:
    schemas = {**operation.asked.query, **operation.asked.headers}
    return _table(
        ("parameter", "values", "default", "meaning"),
        (
            (f"`{name}`", _values(schema), _default(schema), words("operations", operation.id, "parameters", name))
            for name, schema in schemas.items()
        ),
    )


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "boolean":
        return "`true`, `false`"
    return _limits(schema)


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default']).strip(chr(34))}`" if "default" in schema else ""


def _customer(facts: Facts) -> list[str]:
    new = facts.schemas["CustomerInput"]
    return _table(
        ("field", "type", "rules"),
        (
            (
                f"`{name}`",
                " or ".join(kind["type"] for kind in schema.get("anyOf", [schema])),
                "; ".join(filter(None, [_need(name, new), _limits(schema.get("anyOf", [schema])[0])]))
                + f". {schema['description']}",
            )
            for name, schema in facts.schemas["Customer"]["properties"].items()
        ),
    )


def _need(name: str, new: Mapping[str, Any]) -> str:
    if name in new["required"]:
        return "required"
    return "optional" if name in new["properties"] else "read-only"


def _limits(schema: Mapping[str, Any]) -> str:
    if "maximum" in schema:
        most = "2^53 − 1" if schema["maximum"] == _POWER else schema["maximum"]  # noqa: RUF001 - a minus
        return f"{schema['minimum']} to {most}"
    if "maxLength" in schema:
        least = f"{schema['minLength']} to" if "minLength" in schema else "at most"
        return f"{least} {schema['maxLength']} characters"
    return ""
