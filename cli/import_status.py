"""`customers import status`: the progress of imports, and their results."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import click

from cli.import_summary import counts_text, summary_text
from cli.target import find_target, stack_option
from cli.terminal import print_table, printable
from customers.imports.bucket import report_folder
from customers.imports.store import ImportStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.target import Target
    from customers.imports.store import Import

_SHORT: Final = 16
"""Digits of an id that people see. The name of a report's folder has the same number."""


@click.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@stack_option
def status(name: str | None, limit: int, stack: str | None, *, as_json: bool) -> None:
    """List recent imports, latest first, or show the progress or the summary of one.

    ID is the first digits of an import's id.
    """
    target = find_target(stack)
    known = ImportStore(target.dynamodb, target.outputs["ImportsTableName"]).all()
    if name is None:
        _list(known[:limit], as_json=as_json)
    else:
        _show(target, _find(known, name), as_json=as_json)


def short_id(import_id: str) -> str:
    """Return as much of an import's id as people need."""
    return import_id[:_SHORT]


def _find(known: Sequence[Import], name: str) -> Import:
    match [one for one in known if re.fullmatch("[0-9a-f]+", name) and one.import_id.startswith(name)]:
        case [one]:
            return one
        case []:
            raise click.ClickException(f"There is no import {printable(name)}. `customers import status` lists them.")
        case _:
            raise click.ClickException(f"Several imports begin with {name}. Use more digits of the id.")


def _list(known: Sequence[Import], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_facts(one) for one in known], indent=2, ensure_ascii=False))
        return
    headings = ("id", "file", "started", "state", "rows")
    rows = (
        (short_id(one.import_id), _source(one), _started(one), _state(one), counts_text(_facts(one))) for one in known
    )
    print_table(headings, rows, wraps="file")


def _show(target: Target, one: Import, *, as_json: bool) -> None:
    summary = _summary(target, one) if one.finished else None
    if as_json:
        click.echo(json.dumps(summary or _facts(one), indent=2, ensure_ascii=False))
    elif summary is not None:
        click.echo(summary_text(target, _source(one), summary))
    else:
        click.echo(f"{printable(_source(one))}: {_state(one)}, {counts_text(_facts(one))}")


def _summary(target: Target, one: Import) -> dict[str, Any] | None:
    opened = target.open_text(f"{report_folder(one.import_id, one.source)}summary.json")
    if opened is None:
        return None
    with opened:
        summary: dict[str, Any] = json.load(opened)
    return summary


def _facts(one: Import) -> dict[str, Any]:
    """Return what the imports table knows about an import, with the names that its summary uses."""
    return {
        "import_id": one.import_id,
        "source": one.source,
        "status": "running" if not one.finished else "completed" if one.broken is None else "failed",
        "rows": sum(one.counts),
        **one.counts._asdict(),
        "started_at": one.started_at,
    }


def _state(one: Import) -> str:
    if one.finished:
        return str(_facts(one)["status"])
    return "running" if one.planned is None else f"running, {one.booked:,} of {one.planned:,} chunks"


def _started(one: Import) -> str:
    return f"{one.started_at[:19].replace('T', ' ')}Z"


def _source(one: Import) -> str:
    return one.source.get("key", "").removeprefix("imports/") or f"message {one.source.get('message_id', '')}"
