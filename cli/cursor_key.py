"""`customers rotate-cursor-key`: replace the key of cursors."""

from __future__ import annotations

import click

from cli.target import find_target, stack_option


@click.command(name="rotate-cursor-key")
@stack_option
def rotate_cursor_key(stack: str | None) -> None:
    """Replace the key that page cursors are encrypted with.

    Cursors of the replaced key work until the next rotation. If a key may have leaked, rotate twice: clients then get
    a 400 for the cursors they hold, and start again with the first page.
    """
    find_target(stack).cursor_keys().rotate()
    click.echo("The key is replaced. All functions use the new one within five minutes.", err=True)
