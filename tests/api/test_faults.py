"""While calls to the store fail, every endpoint says so in time. Afterwards, nothing is lost, doubled or half done.

A short run of `make reliability` (docs/reliability.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.benchmarks.reliability.fault_proxy import Fault
from tools.benchmarks.reliability.requests import World, run_cell, running_world
from tools.benchmarks.reliability.trials import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world() as running:
        yield running


@pytest.mark.parametrize(("fault", "always"), [(Fault.CUT, True), (Fault.LOST, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_of_the_store_loses_or_doubles_anything(
    world: World,
    kind: str,
    fault: Fault,
    always: bool,  # noqa: FBT001
) -> None:
    cell = run_cell(world, KINDS[kind], fault, always=always, trials=4)
    assert cell.problems == []
