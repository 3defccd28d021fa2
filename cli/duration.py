"""Durations as people type them: 90d, 12h, 30m, 45s."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click import Context, Parameter

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MAX_DAYS: Final = 36_500
NEVER: Final = math.inf
"""The value of `never`, where it is allowed."""


class Duration(click.ParamType):
    """The type of an option that takes a duration of at most 100 years. Its value is in seconds.

    Parameters
    ----------
    zero
        Whether 0 is allowed.
    never
        Whether `never` is allowed.
    """

    name = "duration"

    def __init__(self, *, zero: bool = False, never: bool = False) -> None:
        self._zero = zero
        self._never = never

    def convert(self, value: str | float, param: Parameter | None, ctx: Context | None) -> float:
        """Read a duration."""
        if not isinstance(value, str):
            return value
        if self._never and value == "never":
            return NEVER
        match = re.fullmatch(r"([0-9]+)([dhms])", value)
        if match is None:
            self.fail(f"{value!r} is not a duration: write 90d, 12h, 30m or 45s.", param, ctx)
        # Twelve digits are enough to see that it is too long. Python refuses to convert thousands of them.
        number = int(match[1].lstrip("0")[:12] or "0")
        if number == 0 and not self._zero:
            self.fail(f"{value} is too short: write 90d, 12h, 30m or 45s.", param, ctx)
        seconds = number * _SECONDS[match[2]]
        if seconds > _MAX_DAYS * _SECONDS["d"]:
            self.fail(f"{value} is too long: at most {_MAX_DAYS}d, which is 100 years.", param, ctx)
        return seconds
