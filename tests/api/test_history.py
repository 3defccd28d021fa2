"""Many clients use the same few customers and get no answer that the contract rules out, whatever fails meanwhile.

This is a short run of `make reliability ARGS=history` (docs/reliability.md), and proof that it finds faults.
"""

from __future__ import annotations

import random
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import ROOT, running_service
from tools.benchmarks.reliability import keys
from tools.benchmarks.reliability.history.check import check
from tools.benchmarks.reliability.history.faults import FAULTS
from tools.benchmarks.reliability.history.run import read_end, run_once, running_clients, work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Service

LAYER = "layers/customers/customers"
PLANTED = (
    "stale read",
    "acknowledged change lost",
    "applied twice",
    "412 though applied",
    "created more than once",
    "deleted customer came back",
    "two deletes acknowledged",
)


def test_kills_pauses_and_cut_calls_lead_to_no_wrong_answer(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    outcome = run_once(tmp_path, list(FAULTS), 20, seed)
    assert outcome.anomalies == [], "\n".join([f"seed {seed}", *map(str, outcome.anomalies)])
    assert {"engine killed", "engine paused", "function killed", "call cut or delayed"} == outcome.faults.keys()
    assert any(operation.unknown for operation in outcome.history.operations)


def test_writers_of_the_same_keys_leave_one_version_an_event_and_an_entry_for_each_change(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    figures, wrong = keys.run_once(tmp_path, {"PUT": 6, "PATCH": 3, "DELETE": 1}, 8, 6, seed)
    assert wrong == [], "\n".join([f"seed {seed}", *wrong])
    assert "function killed" in figures["faults"]


class Broken(NamedTuple):
    """A service whose store goes wrong when told to."""

    service: Service
    switch: Path


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    folder = tmp_path_factory.mktemp("broken")
    shutil.copy(ROOT / "template.yaml", folder)
    for part in ("functions", "layers"):
        shutil.copytree(ROOT / part, folder / part)
    switch = folder / "fault"
    switch.write_text("")
    source = (ROOT / "tests/api/broken_store.py").read_text(encoding="utf-8")
    (folder / LAYER / "broken_store.py").write_text(source.replace("/path/of/the/switch", str(switch)))
    with (folder / LAYER / "store/customers.py").open("a", encoding="utf-8") as lines:
        lines.write("\nfrom customers.broken_store import BrokenStore as CustomerStore\n")
    rates = ("--parameter", "ThrottleRate=100000", "--parameter", "ThrottleBurst=100000")
    arguments = ("--in-memory", "--template", str(folder / "template.yaml"), *rates)
    with running_service(tmp_path_factory.mktemp("service"), *arguments) as running:
        yield Broken(running, switch)


def anomalies(broken: Broken, fault: str, seed: int, *, until_found: bool) -> set[str]:
    """Let clients work while the store goes wrong, and return what the check finds."""
    with running_clients(8, broken.service.url, broken.service.token, seed) as workers:
        deadline = time.monotonic() + 180
        while True:
            broken.switch.write_text(fault)
            work(workers, 2)
            broken.switch.write_text("")
            operations = [operation for worker in workers for operation in worker.operations]
            history = read_end(workers[0], broken.service.data, operations)
            found = {anomaly.what for anomaly in check(history)}
            if not until_found or fault in found or time.monotonic() > deadline:
                break
        # The next test begins with an empty table.
        for customer in history.table:
            assert workers[0].http.delete(f"/api/customers/{customer['id']}").status_code == 200
        return found


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_planted_in_the_store_is_found(broken: Broken, fault: str) -> None:
    assert fault in anomalies(broken, fault, PLANTED.index(fault), until_found=True)


def test_without_a_planted_fault_nothing_is_found(broken: Broken) -> None:
    assert anomalies(broken, "", len(PLANTED), until_found=False) == set()
