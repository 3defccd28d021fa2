"""Lengths of time as people type them: 90d, 12h, 30m, 45s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click import Context, Parameter

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Duration(click.ParamType):
    """A command's option that takes a length of time. Its value is in seconds."""

    name = "duration"

    def convert(self, value: str | int, param: Parameter | None, ctx: Context | None) -> int:
        """Read a length of time."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,6})([dhms])", value)
        if match is None:
            self.fail(f"{value} is no length of time: write 90d, 12h, 30m or 45s.", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]
