"""`customers history` and `customers audit`: who changed a customer, and which customers a token changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from cli.duration import Duration
from cli.target import find_target, stack_option
from cli.terminal import print_table, printable
from cli.token import find_token
from customers.ids import MAX_ID
from customers.store.items import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.store.history import HistoryStore

_PAGE: Final = 100

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class _CustomerId(click.IntRange):
    """The id of a customer, also as exports write it in CSV: C-4503599627370496."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 (click's own)
        return int(super().convert(str(value).removeprefix("C-"), param, ctx))


@click.command()
@click.argument("customer_id", metavar="ID", type=_CustomerId(1, MAX_ID))
@json_option
@stack_option
def history(customer_id: int, stack: str | None, *, as_json: bool) -> None:
    """Show who changed a customer, when and how, newest first."""
    entries = list(_entries(find_target(stack).history(), customer_id))
    if as_json:
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    if not entries:
        raise click.ClickException(f"There is no history of customer {customer_id}. Is the id right?")
    for entry in entries:
        _show(entry)


def _entries(store: HistoryStore, customer_id: int) -> Iterator[dict[str, Any]]:
    after = None
    while True:
        page = store.newest_first(customer_id, limit=_PAGE, after=after)
        yield from page.entries
        after = page.next_position
        if after is None:
            return


def _show(entry: dict[str, Any]) -> None:
    by = entry["by"]
    parts = [f"version {entry['version']}", entry["at"], entry["action"]]
    if "token_id" in by:
        parts.append(f"by token {by['token_id']}")
    if "import_id" in by:
        parts.append(f"by row {by['row']} of import {by['import_id']}")
    if entry["request_id"]:
        parts.append(f"request {entry['request_id']}")
    click.echo(printable("  ".join(parts)))
    for name, change in entry["changes"].items():
        before, after = (json.dumps(change[which], ensure_ascii=False) for which in ("from", "to"))
        click.echo(printable(f"    {name}: {before} → {after}"))


@click.command()
@click.option("--token", "token_id", required=True, metavar="ID", help="The token, as `customers token list` shows it.")
@click.option("--since", type=Duration(), help="How far to look back: 7d, 12h. Default: as far as changes are kept.")
@json_option
@stack_option
def audit(token_id: str, since: float | None, stack: str | None, *, as_json: bool) -> None:
    """List the changes that a token made, oldest first.

    Use it when a token has leaked, to see what it created, changed and deleted. Changes of customers who have been
    deleted since are gone.
    """
    start = "" if since is None else timestamp(datetime.now(UTC) - timedelta(seconds=since))
    target = find_target(stack)
    found = list(target.history().made_by(token_id, start))
    if not found:
        # Who looks for what a leaked token did must not take a slip of the pen for an answer.
        find_token(target.tokens(), token_id)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    print_table(
        ("customer", "version", "at", "action"),
        ((str(change["customer_id"]), str(change["version"]), change["at"], change["action"]) for change in found),
        wraps="action",
    )
    customers = len({change["customer_id"] for change in found})
    click.echo(f"{len(found)} changes of {customers} customers. See what changed: `customers history ID`.", err=True)
