"""`python -m tests.fuzz`: Schemathesis tries the running service, in every phase, by its published contract."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Service

_FIXED_SEEDS: Final = (1, 2)
_ENOUGH: Final = 20_000
_MAX_EXAMPLES: Final = 1500
_BOUNDED: Final = ("--phases", "fuzzing,stateful")
"""The phases that this number bounds. The others always send about 500 requests in all."""
_GENERATED: Final = re.compile(r"^ +([\d,]+) generated", re.MULTILINE)
_SEED: Final = re.compile(r"^Seed: (\d+)", re.MULTILINE)


def fuzz(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Schemathesis against a service."""
    program = str(Path(sys.executable).with_name("st"))
    configured = [program, "--config-file", str(ROOT / "tests/fuzz/schemathesis.toml")]
    return subprocess.run(
        [
            *configured,
            "run",
            str(ROOT / "docs/openapi.yaml"),
            "--url",
            service.url,
            "-H",
            f"Authorization: Bearer {service.token}",
            *arguments,
        ],
        # It leaves a cache and a database in the folder where it runs.
        cwd=service.data,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(ROOT / "tests/fuzz/hooks.py")},
        capture_output=True,
        text=True,
        check=False,
    )


def cases(output: str) -> int:
    """Return how many requests a run made up. It sends a few more, to see what those did."""
    found = _GENERATED.search(output)
    return int(found[1].replace(",", "")) if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the service until 20,000 requests have been sent, or once with the given options.

    Returns
    -------
    int
        The exit code: 1 if anything failed.
    """
    parser = argparse.ArgumentParser(
        prog="tests.fuzz",
        description="Without options: fixed seeds, then random ones, until 20,000 requests were sent.",
    )
    parser.add_argument("--seed", type=int, help="one run with this seed")
    parser.add_argument(
        "--max-examples",
        type=int,
        metavar="N",
        help="one run, of at most N random requests to each operation and about N random sequences of calls",
    )
    options = parser.parse_args(arguments)
    if options.seed is not None or options.max_examples is not None:
        if options.max_examples is None:
            return 0 if _run(options.seed, _MAX_EXAMPLES) else 1
        return 0 if _run(options.seed, options.max_examples, *_BOUNDED) else 1
    seeds = list(_FIXED_SEEDS)
    total = 0
    while total < _ENOUGH:
        sent = _run(seeds.pop(0) if seeds else None, _MAX_EXAMPLES)
        if not sent:
            return 1
        total += sent
        print(f"{total:,} of {_ENOUGH:,} requests", flush=True)  # noqa: T201 - to the terminal
    return 0


def _run(seed: int | None, max_examples: int, *arguments: str) -> int:
    """Fuzz a new service once. Return how many requests were sent, or 0 if anything failed."""
    chosen = [] if seed is None else ["--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), "--in-memory") as service:
        done = fuzz(service, "--max-examples", str(max_examples), *chosen, *arguments)
    sent = cases(done.stdout)
    used = _SEED.search(done.stdout)
    print(f"seed {used[1] if used else '?'}: {sent} requests", flush=True)  # noqa: T201
    if done.returncode == 0 and sent:
        return sent
    print(done.stdout, done.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
