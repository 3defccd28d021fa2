"""A group of commands that suggests the nearest command when a name is misspelled."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Command, Context


class SuggestingGroup(click.Group):
    """Suggests the nearest command, as click does for options."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises
        ------
        click.UsageError
            No command has that name. The message suggests similar names.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if alike := get_close_matches(args[0], self.commands):
                error.message += f" Did you mean {' or '.join(alike)}?"
            raise
