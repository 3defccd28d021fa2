"""`python -m tests.fuzz`: has Schemathesis try the running service, in every phase, by its published contract."""

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
        # It leaves a cache and a database where it runs.
        cwd=service.data,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(ROOT / "tests/fuzz/hooks.py")},
        capture_output=True,
        text=True,
        check=False,
    )


def cases(output: str) -> int:
    """Give how many requests a run made up; it sends a few more, to look at what they did."""
    found = _GENERATED.search(output)
    return int(found[1].replace(",", "")) if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz with the fixed seeds, then with random ones, until there were enough requests.

    Returns
    -------
    int
        The exit code: 1 if anything failed.
    """
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--max-examples", type=int, default=1500, help="for each operation and run")
    options = parser.parse_args(arguments)
    seeds = list(_FIXED_SEEDS) if options.seed is None else [options.seed]
    total = 0
    while seeds or (options.seed is None and total < _ENOUGH):
        chosen = ["--seed", str(seeds.pop(0))] if seeds else []
        with tempfile.TemporaryDirectory() as folder, running_service(Path(folder), "--in-memory") as service:
            done = fuzz(service, "--max-examples", str(options.max_examples), *chosen)
        total += cases(done.stdout)
        seed = _SEED.search(done.stdout)
        print(f"seed {seed[1] if seed else '?'}: {cases(done.stdout)} requests, {total} in all", flush=True)  # noqa: T201 - to the terminal
        if done.returncode or not cases(done.stdout):
            print(done.stdout, done.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
