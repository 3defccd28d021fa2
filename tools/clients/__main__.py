"""`python -m tools.clients`: generates clients, compiles them, and runs a scenario with each."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.conftest import running_service
from tools.clients.generators import BIN, HERE, ROOT, Client, clients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PAGE: Final = ROOT / "docs/clients.md"
_TABLE: Final = re.compile(r"(?<=<!-- `make clients` writes: clients -->\n).*?(?=<!-- until here -->)", re.DOTALL)
EXPECTED: Final = """\
created true 1
kept 201 400
found true
changed 42 "2"
deleted true
refused 404 /problems/not-found
"""
"""What every scenario prints. It creates one customer, whose id has more than 31 bits, and a list with a bad row. It
finds the first customer, changes it with its tag, deletes it, and then gets a 404 for it."""


class Result(NamedTuple):
    """A client's result."""

    client: Client
    outcome: str
    """`works`, or what did not work."""
    output: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Test the clients.

    Returns
    -------
    int
        The exit code: 1 if a client does not work.
    """
    parser = argparse.ArgumentParser(prog="clients", description="Test clients that are generated from the document.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only clients with this in their name or language")
    options = parser.parse_args(arguments)
    chosen = [client for client in clients() if options.only in f"{client.name} {client.target}"]
    results = []
    with tempfile.TemporaryDirectory() as data, running_service(Path(data), "--in-memory", "--quiet") as service:
        for client in chosen:
            environment = {"URL": service.url, "TOKEN": service.token, "KEY": f"client-{uuid.uuid4()}"}
            results.append(attempt(client, environment))
            print(f"{client.name}, {client.target}: {results[-1].outcome}", flush=True)  # noqa: T201 - progress
            print(results[-1].output, end="", file=sys.stderr)  # noqa: T201
    if not options.only:
        _PAGE.write_text(_TABLE.sub(lambda _: _table(results), _PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return int(any(result.output for result in results))


def attempt(client: Client, environment: Mapping[str, str]) -> Result:
    """Generate and compile a client, and run its scenario."""
    if missing := client.missing():
        return Result(client, f"not tested: {missing} is missing", "")
    folder = ROOT / "build/clients" / re.sub(r"\W+", "-", f"{client.name} {client.target}").lower()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "client").mkdir(parents=True)
    scenario = HERE / "scenarios" / client.scenario
    name = scenario.name if scenario.suffix == ".java" else f"scenario{scenario.suffix}"
    shutil.copy(scenario, folder / name)
    for file in ("package.json", "tsconfig.json"):
        shutil.copy(HERE / file, folder)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    document = str(ROOT / "docs" / client.document)
    generate = [part.replace("{document}", document) for part in client.generate]
    for step, commands in [("generating", [generate]), ("compiling", client.compile), ("running", [client.run])]:
        for command in commands:
            done = subprocess.run(  # noqa: S603 - our own commands
                command,
                cwd=folder,
                env={**_environment(folder), **environment},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                return Result(client, f"fails at {step}", done.stdout)
    expected = EXPECTED.replace("kept 201 400", "kept none 400") if client.remark else EXPECTED
    if done.stdout.lower() != expected:
        return Result(client, "prints something else", done.stdout)
    return Result(client, "works", "")


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "client"),
        "MYPYPATH": str(folder / "client"),
        # Everything that a module needs is beside it.
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOCACHE": str(ROOT / "build/clients/go"),
        "GOTOOLCHAIN": "local",
    }


def _table(results: Sequence[Result]) -> str:
    rows = [
        f"| {result.client.name} | {result.client.target} | [{result.client.document}]({result.client.document}) "
        f"| {'; '.join(filter(None, [result.outcome, result.client.remark]))} |\n"
        for result in results
    ]
    return "".join(["| generator | client | document | |\n| --- | --- | --- | --- |\n", *rows])


if __name__ == "__main__":
    sys.exit(main())
