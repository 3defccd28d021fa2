"""`make mutants`: mutate the layer and the functions with mutmut, and show how many mutants the tests notice.

It tests a random sample, the same for the same seed and code, and shows survivors. `accepted.toml` says which may
survive, and why.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tools.mutants.accepted import AcceptedSurvivors, Survivor, change_in
from tools.mutants.working_copy import ROOT, make_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

_COPY: Final = ROOT / "build" / "mutants"
_MUTMUT: Final = (sys.executable, "-c", "from mutmut.__main__ import cli; cli()")
_FIRST: Final = "customers.tokens.x__checksum__mutmut_1"
"""Any mutant: to test one, mutmut makes all of them, and measures the tests."""
_STATUSES: Final = {1: "noticed", 0: "survived", 33: "without a test", **dict.fromkeys((-24, 24, 152), "endless")}
"""What mutmut's exit codes mean: pytest's, that of no test, and SIGXCPU's. With others, the tests could not run."""
_NOTICED: Final = frozenset({"noticed", "endless"})
_WANTED: Final = 0.9
_MEMORY: Final = 10 * 1024**3
"""Bytes for a process: an endless loop must not use up the machine's memory."""


def main() -> int:
    """Test a sample of mutants.

    Returns
    -------
    int
        The exit code: 1 if too few are noticed, or a survivor has no reason.
    """
    parser = argparse.ArgumentParser(prog="mutants", description="Count how many small faults the tests notice.")
    parser.add_argument("--sample", type=int, default=500, help="how many mutants to test (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=16, help="which ones (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=120, help="when to stop (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at once (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the last working copy and its results")
    parser.add_argument("function", nargs="*", default=["*"], help="only mutants of these modules or functions")
    options = parser.parse_args()
    os.nice(15)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    ends = time.monotonic() + options.minutes * 60
    if not options.keep:
        print("copying the project", flush=True)
        make_copy(_COPY)
        print("making the mutants, and measuring the tests (takes minutes)", flush=True)
        _mutmut("run", "--max-children", "1", _FIRST, ends=ends)
    known = [name for name in sorted(_results()) if any(fnmatch.fnmatch(name, one) for one in options.function)]
    sample = random.Random(options.seed).sample(known, min(options.sample, len(known)))  # noqa: S311 (no secret)
    print(f"testing {len(sample)} of {len(known)} mutants", flush=True)
    _mutmut("run", "--max-children", str(options.processes), *sample, ends=ends)
    return _report(sample)


def _mutmut(*arguments: str, ends: float) -> None:
    """Run mutmut with its progress on the terminal, and stop it when the time is up."""
    with subprocess.Popen([*_MUTMUT, *arguments], cwd=_COPY) as process:
        try:
            process.wait(max(0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            print("\nthe time is up", flush=True)
            process.terminate()
            return
    if process.returncode:
        sys.exit("mutmut failed. `debug = true` in tools/mutants/settings.toml shows what the tests print.")


def _output(*arguments: str) -> str:
    return subprocess.run([*_MUTMUT, *arguments], cwd=_COPY, check=True, capture_output=True, text=True).stdout


def _results() -> dict[str, str]:
    """Return the result of each mutant. Empty for one that was not tested."""
    found: dict[str, str] = {}
    for file in sorted((_COPY / "mutants").rglob("*.meta")):
        codes: dict[str, int | None] = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        found |= {
            name: "" if code is None else _STATUSES.get(code, f"not run (exit code {code})")
            for name, code in codes.items()
        }
    return found


def _report(sample: Sequence[str]) -> int:
    results = _results()
    tested = [name for name in sample if results[name]]
    counts = Counter(results[name] for name in tested)
    accepted, unexplained = AcceptedSurvivors(), 0
    for name in tested:
        if results[name] in _NOTICED:
            continue
        survivor = Survivor(name, change_in(_output("show", name)))
        reason = accepted.reason(survivor)
        unexplained += reason is None
        print(f"{'accepted' if reason else 'NO REASON'}: {name} ({results[name]})\n    {survivor.change}")
        print(f"    {reason or 'write a test that notices it, or a reason in tools/mutants/accepted.toml'}")
    noticed = sum(counts[status] for status in _NOTICED)
    score = noticed / len(tested) if tested else 0.0
    print(f"{noticed} of {len(tested)} mutants noticed ({score:.1%}), {len(tested) - noticed} survived", end=", ")
    print(f"{unexplained} of them without a reason: {dict(counts)}")
    return 0 if tested and score >= _WANTED and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
