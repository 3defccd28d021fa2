"""What each function's start costs, in instructions: the same number each time, however busy the machine is.

Run as `make instructions`; it writes the figures that tests/integration/test_instructions.py compares with, and their
table in docs/performance.md. A start lasts from the start of the process to the first answer. It is given as a ratio to
a bare boto3 handler with bytecode, counted in the same run. So what depends on the processor (the C library chooses its
functions by it) or on how Python was compiled affects both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from local.runtime.layer_packages import installed_packages
from tools.benchmarks.contenders import PEERS, ROOT, fill, sam_build
from tools.benchmarks.engine import running_engine
from tools.benchmarks.report import replace_part, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.template.stack import Stack

FIGURES: Final = Path(__file__).with_name("instructions.json")
TOLERANCE: Final = 0.03

# Without the end of the process, which nobody waits for in Lambda.
_PROGRAM: Final = """
import importlib, json, os, sys
from types import SimpleNamespace
handler = importlib.import_module(sys.argv[1]).lambda_handler
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000)
answer = handler(json.loads(sys.argv[2]), context)
print(answer.get("statusCode", 200), flush=True)
os._exit(0)
"""


class First(NamedTuple):
    """A function's first event, and the status of the answer."""

    event: str | None
    """A file in the folder `events`. None for an event without records."""
    status: int


EVENTS: Final = {
    "Authorize": First("authorize/valid", 200),
    "CloseImport": First(None, 200),
    "CreateCustomers": First("create_customers/one", 201),
    "DeleteCustomer": First("delete_customer/no_such_customer", 404),
    "FindCustomers": First("find_customers/nobody", 200),
    "GetCustomer": First("get_customer/valid", 200),
    "GetExternal": First("get_external/no_such_customer", 404),
    "GetHistory": First("get_history/no_such_customer", 404),
    "ImportCustomers": First(None, 200),
    "KeepHistory": First(None, 200),
    "ListGroup": First("list_group/valid", 200),
    "PlanImport": First(None, 200),
    "PublishChanges": First(None, 200),
    "PutCustomer": First("put_customer/valid", 201),
    "UpdateCustomer": First("update_customer/valid", 200),
}
_FLOOR: Final = "boto3"


def measure(built: Path, endpoint: str, stack: Stack) -> dict[str, float]:
    """Return each function's start as a ratio to a bare boto3 handler's. Two are counted at a time.

    Parameters
    ----------
    built
        What `sam build` made.
    endpoint, stack
        An engine that `contenders.fill` has filled, and the stack whose tables it holds.
    """
    layer, full = built / "CustomersLayer" / "python", installed_packages(ROOT / "layers" / "customers")
    bare = (PEERS / "boto3", *([full] if full else []))

    def count(name: str) -> int:
        if name == _FLOOR:
            return _count("GetCustomer", "get", *bare)
        return _count(name, "app", built / name, layer)

    def _count(name: str, module: str, *packages: Path) -> int:
        variables = stack.functions[name].environment.items()
        return _instructions(
            module,
            EVENTS[name],
            {key: endpoint if key.startswith("AWS_ENDPOINT_URL") else value for key, value in variables}
            | {"PYTHONPATH": ":".join(map(str, packages))},
        )

    names = [_FLOOR, *EVENTS]
    with ThreadPoolExecutor(2) as threads:
        counts = dict(zip(names, threads.map(count, names), strict=True))
    return {name: round(counts[name] / counts[_FLOOR], 3) for name in EVENTS}


def _instructions(module: str, first: First, environment: Mapping[str, str]) -> int:
    """Count a start.

    Raises
    ------
    ValueError
        The function did not answer as expected.
    """
    event = (ROOT / "events" / f"{first.event}.json").read_text(encoding="utf-8") if first.event else '{"Records": []}'
    with tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") as counts:
        # It counts the same as callgrind, in two thirds of the time.
        command = ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={counts.name}"]
        command += [sys.executable, "-S", "-B", "-c", _PROGRAM, module, event]
        fixed = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONHASHSEED": "0",
        }
        done = subprocess.run(command, env={**environment, **fixed}, check=False, capture_output=True, text=True)  # noqa: S603
        found = re.search(r"^summary: (\d+)$", counts.read(), re.MULTILINE)
    if done.stdout.splitlines()[-1:] != [str(first.status)] or found is None:
        raise ValueError(f"{first.event}: {done.stdout}{done.stderr}")
    return int(found[1])


def changed(committed: Mapping[str, float], counted: Mapping[str, float]) -> list[str]:
    """Return a line for each figure that is further from the committed one than the tolerance."""
    lines = []
    for name in sorted(committed.keys() | counted.keys()):
        before, after = committed.get(name), counted.get(name)
        if before is None or after is None:
            lines.append(f"{name} is " + ("new" if before is None else "gone"))
        elif abs(after / before - 1) > TOLERANCE:
            than = "more" if after > before else "fewer"
            lines.append(
                f"{name}'s start takes {abs(after / before - 1):.1%} {than} instructions: {before} is now {after}"
            )
    return lines


def main() -> None:
    """Count, and write the figures down."""
    with tempfile.TemporaryDirectory() as folder, running_engine() as (endpoint, stack):
        sam_build(ROOT / "template.yaml", Path(folder))
        fill(endpoint, stack)
        figures = measure(Path(folder), endpoint, stack)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    rows = [(f"`{name}`", f"{figure:.3f}") for name, figure in sorted(figures.items(), key=lambda item: item[1])]
    text = table(("instructions from the start to the first answer", "÷ bare boto3 with bytecode"), rows)
    print(text)
    replace_part(ROOT / "docs" / "performance.md", "instructions", text)


if __name__ == "__main__":
    main()
