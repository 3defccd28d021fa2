"""`customers rotate-cursor-key`: replace the key that encrypts cursors."""

from __future__ import annotations

import click

from cli.target import find_target, stack_option


@click.command(name="rotate-cursor-key")
@stack_option
def rotate_cursor_key(stack: str | None) -> None:
    """Replace the key that encrypts page cursors.

    Cursors made with the old key work until the next rotation. If a key may have leaked, rotate twice: clients then
    get a 400 for the cursors they hold, and start again with the first page.
    """
    find_target(stack).cursor_keys().rotate()
    click.echo("The key was replaced. All functions will use the new one within five minutes.", err=True)
