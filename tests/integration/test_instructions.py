"""The cost of a start of each function, in instructions, is within 3 % of the committed figures."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import running_engine
from tools.benchmarks.contenders import fill
from tools.benchmarks.instructions import EVENTS, FIGURES, changed, measure

if TYPE_CHECKING:
    from pathlib import Path

    from local.template.stack import Stack

pytestmark = pytest.mark.cloud
SAY = """
A start that has become slower needs a reason; what it loads is in tests/integration/test_cold_start.py.
`make instructions` writes the new figures, also of a start that has become faster, so that it stays so.
"""


def test_every_function_is_counted(stack: Stack) -> None:
    assert EVENTS.keys() == stack.functions.keys()


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not available on this machine")
def test_starts_stay_as_short_as_they_are(built: Path, stack: Stack, tmp_path: Path) -> None:
    with running_engine(tmp_path, stack) as engine:
        fill(engine, stack)
        counted = measure(built, engine, stack)
    lines = changed(json.loads(FIGURES.read_text(encoding="utf-8")), counted)
    assert not lines, "\n".join([*lines, SAY])


@pytest.mark.parametrize(
    ("counted", "line"),
    [
        ({"a": 0.628}, []),
        ({"a": 0.629}, ["a's start takes 3.1% more instructions: 0.61 is now 0.629"]),
        ({"a": 0.59}, ["a's start takes 3.3% fewer instructions: 0.61 is now 0.59"]),
        ({"a": 0.61, "b": 1.0}, ["b is new"]),
        ({}, ["a is gone"]),
    ],
)
def test_a_figure_may_be_three_percent_off(counted: dict[str, float], line: list[str]) -> None:
    assert changed({"a": 0.61}, counted) == line
