"""The generators: how each makes a client, how that is compiled, and how its scenario is run."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
BIN: Final = ROOT / ".venv/clients/bin"
DEBIAN: Final = ROOT / ".venv/clients/debian"
_NODE: Final = HERE / "node_modules/.bin"
PLAIN: Final = "openapi.yaml"
INT64: Final = "openapi-int64.yaml"


@dataclass(frozen=True, slots=True)
class Client:
    """A client. Its commands run in its own folder."""

    name: str
    """The generator."""
    target: str
    """What it makes."""
    document: str
    """The form of the document that suits it."""
    scenario: str
    """Its file under `scenarios`."""
    needs: Sequence[str]
    """Programs that this machine may not have."""
    generate: Sequence[str]
    compile: Sequence[Sequence[str]]
    """Compile or type-check the client and the scenario."""
    run: Sequence[str]
    remark: str = ""
    """What a client of its kind cannot do."""

    def missing(self) -> str:
        """Return the programs that this machine lacks for the client. Empty if there are none."""
        return ", ".join(Path(program).name for program in self.needs if shutil.which(program) is None)


def _jars() -> str:
    (generator,) = (ROOT / ".venv/clients/lib").glob("python3*/site-packages/openapi_generator_cli/*.jar")
    # The generator contains Jackson, which its clients need.
    return os.pathsep.join([str(generator), *map(str, DEBIAN.glob("usr/share/java/*.jar"))])


def clients() -> list[Client]:
    """Return the clients. A command's `{document}` is the document's path."""
    openapi_generator = [str(BIN / "openapi-generator-cli"), "generate", "-i", "{document}", "-o"]
    python = [str(BIN / "mypy"), "--cache-dir=/dev/null", "--check-untyped-defs"]
    typescript = [[str(_NODE / "tsc"), "-p", "tsconfig.json"]]
    tsx = [str(_NODE / "tsx"), "scenario.ts"]
    hey_api = [part for plugin in ("typescript", "sdk", "transformers", "client-fetch") for part in ("-p", plugin)]
    go, jars = str(BIN / "go"), _jars()
    return [
        Client(
            "openapi-generator",
            "Python",
            PLAIN,
            "openapi_generator.py",
            [],
            [*openapi_generator, "client", "-g", "python", "--package-name", "customers_client"],
            [[*python, "scenario.py"]],
            [str(BIN / "python"), "scenario.py"],
        ),
        Client(
            "openapi-generator",
            "TypeScript (typescript-fetch)",
            PLAIN,
            "typescript_fetch.ts",
            [],
            [*openapi_generator, "client", "-g", "typescript-fetch", "--additional-properties=importFileExtension=.js"],
            typescript,
            tsx,
        ),
        Client(
            "openapi-generator",
            "Java (native)",
            INT64,
            "Scenario.java",
            ["javac"],
            [*openapi_generator, "client", "-g", "java", "--library=native",
             "--additional-properties=openApiNullable=false"],
            [["sh", "-c", f"javac -nowarn -d classes -cp {jars} $(find client/src/main -name '*.java') Scenario.java"]],
            ["java", "-cp", f"classes{os.pathsep}{jars}", "Scenario"],
            "its `createCustomers` needs the default library, with Gson: Jackson cannot tell its results apart",
        ),
        Client(
            "openapi-generator",
            "Go",
            INT64,
            "scenario.go",
            [go],
            [*openapi_generator, "client", "-g", "go", "--additional-properties=packageName=customers"],
            [
                ["sh", "-c", f"cd client && {go} mod edit -module example.com/customers"],
                [go, "mod", "init", "example.com/scenario"],
                *([go, "mod", "edit", f"-replace={module}={folder}"] for module, folder in _go_modules()),
                [go, "build", "-mod=mod", "-o", "scenario", "."],
            ],
            ["./scenario"],
        ),
        Client(
            "openapi-python-client",
            "Python",
            PLAIN,
            "openapi_python_client.py",
            [],
            [str(BIN / "openapi-python-client"), "generate", "--path={document}", "--meta=none", "--fail-on-warning",
             "--output-path=client/customers_api_client"],
            [[*python, "scenario.py"]],
            [str(BIN / "python"), "scenario.py"],
        ),
        Client(
            "openapi-typescript, openapi-fetch",
            "TypeScript",
            PLAIN,
            "openapi_fetch.ts",
            [],
            [str(_NODE / "openapi-typescript"), "{document}", "-o", "client/schema.d.ts"],
            typescript,
            tsx,
        ),
        Client(
            "hey-api, with its transformers",
            "TypeScript",
            PLAIN,
            "hey_api.ts",
            [],
            [str(_NODE / "openapi-ts"), "-i", "{document}", "-o", "client", *(
                part if part == "-p" else f"@hey-api/{part}" for part in hey_api
            )],
            typescript,
            tsx,
        ),
    ]  # fmt: skip


def _go_modules() -> list[tuple[str, str]]:
    validator = "usr/share/gocode/src/gopkg.in/validator.v2"
    return [("example.com/customers", "./client"), ("gopkg.in/validator.v2", str(DEBIAN / validator))]
