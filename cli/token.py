"""`customers token`: give out, see, narrow, roll and take back access."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.duration import Duration
from cli.target import find_target, stack_option
from customers.tokens import SCOPES, new_token, token_hash, token_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from customers.store.tokens import TokenRecord, TokenStore

_TABLE_WIDTH: Final = 120
"""Characters: narrower, the table would cut what people copy."""


def _scopes(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Read a list like `read,customers:write`; a scope may be written without `customers:`."""
    given = [name.strip() for name in value.split(",") if name.strip()]
    scopes = tuple(name if ":" in name else f"customers:{name}" for name in given)
    if not scopes or (unknown := [scope for scope in scopes if scope not in SCOPES]):
        raise click.BadParameter(f"{unknown[0] if scopes else 'nothing'} is no scope. There are: {', '.join(SCOPES)}.")
    return scopes


@click.group()
def token() -> None:
    """Give out, see, narrow, roll and take back access."""


@token.command()
@click.option("--scopes", required=True, callback=_scopes, help="What it may do: read,write,delete or some of them.")
@click.option("--label", required=True, help="What it is for, in your words.")
@click.option("--expires", type=Duration(), help="How long it is valid: 90d, 12h. Default: without end.")
@stack_option
def create(scopes: tuple[str, ...], label: str, expires: int | None, stack: str | None) -> None:
    """Make a token, and print it: this once, and never again."""
    store = find_target(stack).tokens()
    expires_at = None if expires is None else int(time.time()) + expires
    _give_out(store, scopes, label, expires_at)


@token.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@stack_option
def list_(stack: str | None, *, as_json: bool) -> None:
    """Show all tokens: what they are for and may do, never the token itself."""
    records = find_target(stack).tokens().all()
    rows = [_row(record) for record in records]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in ("id", "label", "scopes", "created", "expires", "last used", "state"):
        # Labels may wrap; half an id is of no use.
        table.add_column(heading, no_wrap=heading != "label")
    for row in rows:
        scopes = " ".join(scope.removeprefix("customers:") for scope in row["scopes"])
        days = (row["created"][:10], (row["expires"] or "never")[:10], row["last_used"] or "never")
        table.add_row(row["id"], row["label"], scopes, *days, row["state"])
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(table)


@token.command()
@click.argument("name", metavar="ID")
@stack_option
def revoke(name: str, stack: str | None) -> None:
    """Take a token back, now."""
    store = find_target(stack).tokens()
    store.end(_find(store, name).token_hash, int(time.time()))
    click.echo(
        f"{name} is revoked. The gateway may still accept it until its cache is over, by default 60 seconds.", err=True
    )


@token.command()
@click.argument("name", metavar="ID")
@click.option("--scopes", required=True, callback=_scopes, help="The scopes that it keeps, of those that it has.")
@stack_option
def narrow(name: str, scopes: tuple[str, ...], stack: str | None) -> None:
    """Leave a token only some of its scopes."""
    store = find_target(stack).tokens()
    record = _find(store, name)
    if wider := [scope for scope in scopes if scope not in record.scopes]:
        raise click.ClickException(f"{name} lacks {wider[0]}, and a token is never widened: create another.")
    if taken := [scope for scope in record.scopes if scope not in scopes]:
        store.take_away(record.token_hash, taken)
    click.echo(f"{name} keeps {', '.join(scopes)}, once the gateway's cache is over, by default 60 seconds.", err=True)


@token.command()
@click.argument("name", metavar="ID")
@click.option("--overlap", type=Duration(), default="24h", show_default=True, help="How long the old one stays valid.")
@click.option("--expires", type=Duration(), help="How long the new one is valid. Default: as long as the old one was.")
@stack_option
def rotate(name: str, overlap: int, expires: int | None, stack: str | None) -> None:
    """Make a token in place of another, which stays valid for a while."""
    store = find_target(stack).tokens()
    old = _find(store, name)
    now = int(time.time())
    if not old.valid_at(now):
        raise click.ClickException(f"{name} is {_state(old)}: create a new token instead.")
    if expires is None and old.expires_at is not None:
        expires = old.expires_at - old.created_at
    # The new one first: if this ends half way, both are valid, and no client is shut out.
    _give_out(store, old.scopes, old.label, None if expires is None else now + expires)
    store.end(old.token_hash, now + overlap)
    click.echo(f"{name} ends at {_time(int(min(_ends(old), now + overlap)))}.", err=True)


def _give_out(store: TokenStore, scopes: Sequence[str], label: str, expires_at: int | None) -> None:
    made = new_token()
    hashed = token_hash(made)
    store.put(hashed, scopes, label, expires_at)
    # The token alone on standard output, so that it can be piped to where it is kept.
    click.echo(made)
    ends = "does not expire" if expires_at is None else f"expires at {_time(expires_at)}"
    click.echo(f"This is {token_id(hashed)}. It {ends}. It is shown this once only.", err=True)


def _find(store: TokenStore, name: str) -> TokenRecord:
    for record in store.all():
        if token_id(record.token_hash) == name:
            return record
    raise click.ClickException(f"There is no token {name}. `customers token list` shows them all.")


def _row(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": token_id(record.token_hash),
        "label": record.label,
        "scopes": record.scopes,
        "created": _time(record.created_at),
        "expires": None if record.expires_at is None else _time(record.expires_at),
        "last_used": record.last_used_on,
        "state": _state(record),
    }


def _state(record: TokenRecord) -> str:
    now = time.time()
    if record.revoked_at is not None and record.revoked_at <= now:
        return "revoked"
    if record.expires_at is not None and record.expires_at <= now:
        return "expired"
    return "valid" if record.revoked_at is None else f"ends at {_time(int(_ends(record)))}"


def _ends(record: TokenRecord) -> float:
    return min(end for end in (record.expires_at, record.revoked_at, math.inf) if end is not None)


def _time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
