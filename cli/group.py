"""A group of commands that knows what was meant by a command it does not have."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Command, Context


class SuggestingGroup(click.Group):
    """Suggests the nearest command, as click itself does for options."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that the arguments begin with.

        Raises
        ------
        click.UsageError
            There is none of that name. The message names those that are spelled alike.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if alike := get_close_matches(args[0], self.commands):
                error.message += f" Did you mean {' or '.join(alike)}?"
            raise
