"""`customers token`: create, list, narrow, rotate and revoke access tokens."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cli.duration import NEVER, Duration
from cli.group import SuggestingGroup
from cli.target import find_target, stack_option
from cli.terminal import print_table, printable
from customers.tokens import SCOPES, new_token, token_hash, token_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from customers.store.tokens import TokenRecord, TokenStore

_MAX_LABEL: Final = 100
"""Characters."""


def _scopes(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Read a list such as `read,customers:write`. The prefix `customers:` is optional."""
    named = {name if ":" in name else f"customers:{name}": name for name in map(str.strip, value.split(",")) if name}
    choices = f"Choose from {', '.join(SCOPES)}."
    if not named:
        raise click.BadParameter(f"No scope was given. {choices}")
    if unknown := [name for scope, name in named.items() if scope not in SCOPES]:
        raise click.BadParameter(f"{unknown[0]!r} is not a scope. {choices}")
    return tuple(named)


def _label(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    label = value.strip()
    if printable(label) != label:
        raise click.BadParameter("It contains control characters.")
    if not any(char.isprintable() and not char.isspace() for char in label):
        raise click.BadParameter("It is blank. Say what the token is for.")
    if len(label) > _MAX_LABEL:
        raise click.BadParameter(f"It is too long: at most {_MAX_LABEL} characters.")
    return label


@click.group(cls=SuggestingGroup)
def token() -> None:
    """Create, list, narrow, rotate and revoke access tokens."""


@token.command()
@click.option(
    "--scopes", required=True, callback=_scopes, help="What it may do: some or all of read,write,delete,export."
)
@click.option("--label", required=True, callback=_label, help="What it is for, in your words.")
@click.option(
    "--expires",
    type=Duration(never=True),
    default="365d",
    show_default=True,
    help="How long it is valid: 90d, 12h, never.",
)
@stack_option
def create(scopes: tuple[str, ...], label: str, expires: float, stack: str | None) -> None:
    """Create a token and print it.

    It is never shown again: the service keeps only its hash.
    """
    store = find_target(stack).tokens()
    _give_out(store, scopes, label, time.time() + expires)


@token.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@stack_option
def list_(stack: str | None, *, as_json: bool) -> None:
    """List all tokens.

    Shows what each token is for, what it may do and when it was last used, but never the token itself.
    """
    records = find_target(stack).tokens().all()
    rows = [_row(record) for record in records]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    headings = ("id", "label", "scopes", "created", "expires", "last used", "state")
    print_table(headings, (_cells(row) for row in rows), wraps="label")


@token.command()
@click.argument("name", metavar="ID")
@stack_option
def revoke(name: str, stack: str | None) -> None:
    """Revoke a token now."""
    store = find_target(stack).tokens()
    store.end(find_token(store, name).token_hash, int(time.time()))
    click.echo(
        f"{name} is revoked. The gateway may still accept it until its cache expires: 60 seconds by default.", err=True
    )


@token.command()
@click.argument("name", metavar="ID")
@click.option("--scopes", required=True, callback=_scopes, help="The scopes to keep.")
@stack_option
def narrow(name: str, scopes: tuple[str, ...], stack: str | None) -> None:
    """Take scopes away from a token."""
    store = find_target(stack).tokens()
    record = find_token(store, name)
    if wider := [scope for scope in scopes if scope not in record.scopes]:
        raise click.ClickException(f"{name} does not have {wider[0]}. Scopes cannot be added: create a new token.")
    if taken := [scope for scope in record.scopes if scope not in scopes]:
        store.take_away(record.token_hash, taken)
    click.echo(
        f"{name} keeps {', '.join(scopes)}. The gateway may still allow the others until its cache expires: "
        "60 seconds by default.",
        err=True,
    )


@token.command()
@click.argument("name", metavar="ID")
@click.option(
    "--overlap",
    type=Duration(zero=True),
    default="24h",
    show_default=True,
    help="How long the old token stays valid; 0s ends it now.",
)
@click.option(
    "--expires",
    type=Duration(never=True),
    help="How long the new token is valid: 90d, 12h, never. Default: as long as the old one was.",
)
@stack_option
def rotate(name: str, overlap: int, expires: float | None, stack: str | None) -> None:
    """Replace a token with a new one.

    The new one has the same scopes and label. The old one stays valid for the overlap.
    """
    store = find_target(stack).tokens()
    old = find_token(store, name)
    now = int(time.time())
    if not old.valid_at(now):
        raise click.ClickException(f"{name} is {_state(old)}. Create a new token instead.")
    if old.revoked_at is not None:
        raise click.ClickException(
            f"{name} has been rotated already and {_state(old)}. Rotate the token that replaced it, or create one."
        )
    if expires is None:
        expires = NEVER if old.expires_at is None else old.expires_at - old.created_at
    # Create the new one first: if this stops half way, both are valid and no client is locked out.
    _give_out(store, old.scopes, old.label, now + expires, old.first_token_id)
    store.end(old.token_hash, now + overlap)
    click.echo(f"{name} ends at {_time(int(min(_ends(old), now + overlap)))}.", err=True)


def _give_out(
    store: TokenStore, scopes: Sequence[str], label: str, ends_at: float, first_token_id: str | None = None
) -> None:
    made = new_token()
    hashed = token_hash(made)
    expires_at = None if ends_at == NEVER else int(ends_at)
    store.put(hashed, scopes, label, expires_at, first_token_id)
    # Only the token goes to standard output, so that it can be piped to where it is kept.
    click.echo(made)
    ends = (
        "never expires: revoke it when nothing uses it any more"
        if expires_at is None
        else f"expires at {_time(expires_at)}"
    )
    click.echo(f"This is token {token_id(hashed)}. It {ends}. It is not shown again.", err=True)


def find_token(store: TokenStore, name: str) -> TokenRecord:
    """Return a token by its id.

    Raises
    ------
    click.ClickException
        There is none.
    """
    for record in store.all():
        if token_id(record.token_hash) == name:
            return record
    raise click.ClickException(f"There is no token {printable(name)}. `customers token list` shows them all.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    scopes = " ".join(scope.removeprefix("customers:") for scope in row["scopes"])
    days = (row["created"][:10], (row["expires"] or "never")[:10], row["last_used"] or "never")
    return (row["id"], row["label"], scopes, *days, row["state"])


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
