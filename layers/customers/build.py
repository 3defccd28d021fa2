"""Builds the layer. `sam build` runs it through the Makefile. It needs only this folder and pip.

The layer is built for a fast start: botocore's data is trimmed to what the code calls, and everything is compiled.
Otherwise Python would compile the packages at each cold start, and botocore would search 400 services.
"""

from __future__ import annotations

import ast
import compileall
import json
import os
import re
import shutil
import subprocess
import symtable
import sys
import tempfile
from importlib.util import resolve_name
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE: Final = Path(__file__).resolve().parent

PLATFORMS: Final = ("manylinux2014_aarch64", "manylinux2014_x86_64")
"""One layer works on both: only pydantic-core is compiled, and its module's file name includes the platform."""

_CALLERS: Final = ("customers", "aws_lambda_powertools")
"""The packages that call AWS. The functions do not, except through the layer."""

_NEVER_LOADED: Final = ("boto3/data", "dns", "pydantic", "annotated_types", "typing_inspection")
"""boto3's resources, what email-validator needs for the DNS, and what the declaration of the customer needs until it
is compiled."""


_NO_DOCUMENTATION: Final = """
class NoDocumentation(str):
    def __new__(cls, *_, **__):
        return super().__new__(cls)


def __getattr__(_):
    return NoDocumentation
"""

_LATE: Final = (
    "aws_lambda_powertools",
    "aws_lambda_powertools.utilities.jmespath_utils",
    "pydantic_core",
    "urllib3.http2",
)
"""Packages that load more than the functions use of them."""

_BY_NAME: Final = """
from importlib import import_module

_PLACES = {places}


def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value
"""


def build(artifacts: Path) -> None:
    """Build the layer into a folder."""
    packages = artifacts / "python"
    install(packages)
    shutil.copytree(SOURCE / "customers", packages / "customers", ignore=shutil.ignore_patterns("__pycache__"))
    compile_customer(packages)
    slim(packages)
    leave_out_documentation(packages)
    load_late(packages)
    # "Unchecked", because packing changes the files' times, and Python ignores bytecode whose times do not match.
    # The paths are those in Lambda, so that the result does not depend on where it is built.
    compiled = compileall.compile_dir(
        packages, quiet=1, stripdir=artifacts, prependdir="/opt", invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )
    if not compiled:
        sys.exit("error: not everything could be compiled")
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    sys.stdout.write(
        f"layer: {size / 1e6:.1f} MB unzipped, compiled for Python {sys.version_info[0]}.{sys.version_info[1]}\n"
    )


def install(packages: Path) -> None:
    """Install the pinned requirements, with the compiled modules of both platforms."""
    first, *others = PLATFORMS
    _pip(first, packages)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    # They list the programs that were in `bin`, with hashes that depend on where this Python is installed.
    for record in packages.glob("*.dist-info/RECORD"):
        record.unlink()
    for platform in others:
        with tempfile.TemporaryDirectory() as folder:
            _pip(platform, Path(folder))
            for module in Path(folder).rglob("*.so"):
                shutil.copy2(module, packages / module.relative_to(folder))


def _pip(platform: str, target: Path) -> None:
    _install(target, "--implementation", "cp", "--python-version", "3.13", "--platform", platform)


def _install(target: Path, *options: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--root-user-action=ignore", "--require-hashes", "--only-binary=:all:", *options]
    command += ["--target", str(target), "--requirement", str(SOURCE / "requirements.txt")]
    subprocess.run(command, check=True)  # noqa: S603 (our own requirements)


def compile_customer(packages: Path) -> None:
    """Write the declaration of the customer as plain data, so that no function imports pydantic."""
    if _compiles(packages, packages, errors=subprocess.DEVNULL):
        return
    # The layer's pydantic-core is for Linux. On another system, use the same version built for that system.
    with tempfile.TemporaryDirectory() as folder:
        _install(Path(folder))
        if not _compiles(packages, Path(folder)):
            sys.exit("error: the declaration of the customer could not be compiled")


def _compiles(packages: Path, pydantic: Path, errors: int | None = None) -> bool:
    program = [sys.executable, "-B", str(SOURCE / "compile_customer.py"), str(packages / "customers" / "_compiled.py")]
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{pydantic}"}
    return subprocess.run(program, env=environment, check=False, stderr=errors).returncode == 0  # noqa: S603 (our own program)


def slim(packages: Path) -> None:
    """Trim botocore's data, in place, to the operations that the code calls, in any region.

    Any other call fails at once, like an operation that does not exist.
    """
    for name in _NEVER_LOADED:
        shutil.rmtree(packages / name)
    sys.path.insert(0, str(packages))
    # The layer's own botocore reads its data, because the build's Python may have another one.
    from botocore.loaders import Loader  # noqa: PLC0415

    data = packages / "botocore" / "data"
    services = services_used(packages, (folder.name for folder in data.iterdir() if folder.is_dir()))
    names = names_called(packages)
    loader = Loader()
    kept: dict[Path, Any] = {}
    prefixes = set()
    for service in services:
        folder = data / service / loader.determine_latest_version(service, "service-2")
        model = slim_model(loader.load_service_model(service, "service-2"), names)
        prefixes.add(model["metadata"]["endpointPrefix"])
        kept[folder / "service-2.json"] = model
        kept[folder / "endpoint-rule-set-1.json"] = loader.load_service_model(service, "endpoint-rule-set-1")
        paginators = loader.load_service_model(service, "paginators-1")["pagination"]
        kept[folder / "paginators-1.json"] = {
            "pagination": {name: paginator for name, paginator in paginators.items() if name in model["operations"]}
        }
    for file in data.glob("*.json"):
        kept[file] = json.loads(file.read_text())
    for partition in kept[data / "endpoints.json"]["partitions"]:
        partition["services"] = {name: value for name, value in partition["services"].items() if name in prefixes}
    shutil.rmtree(data)
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, separators=(",", ":")))


def leave_out_documentation(packages: Path) -> None:
    """Replace the modules that write the docstrings of botocore's and boto3's methods with empty ones.

    Every client loads them, including an HTML parser, and the trimmed data has no documentation left.
    """
    for package in ("botocore", "boto3"):
        folder = packages / package / "docs"
        (folder / "__init__.py").write_text("")
        (folder / "docstring.py").write_text(_NO_DOCUMENTATION)


def load_late(packages: Path) -> None:
    """Let packages load each name when it is asked for (PEP 562), and not all of them at once.

    What was the package's own module becomes `_whole`.
    """
    for package in _LATE:
        module = packages.joinpath(*package.split("."), "__init__.py")
        code = module.read_text(encoding="utf-8")
        module.with_name("_whole.py").write_text(code, encoding="utf-8")
        module.write_text(_BY_NAME.format(places=places(package, code)), encoding="utf-8")


def places(package: str, code: str) -> dict[str, str]:
    """Return the module that has each name of a package, whose own module has this code."""
    symbols = symtable.symtable(code, package, "exec").get_symbols()
    names = (symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported())
    found = dict.fromkeys(names, f"{package}._whole")
    for node in ast.parse(code).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = resolve_name("." * node.level + node.module, package)
            found |= {alias.name: module for alias in node.names if alias.asname is None}
    return found


def services_used(packages: Path, services: Iterable[str]) -> set[str]:
    """Return the services that the package `customers` makes clients for. It names them where it configures them."""
    makers = (text for text in _sources(packages / "customers") if "botocore.config" in text)
    words = {word for text in makers for word in re.findall(r'"([\w-]+)"', text)}
    return words & set(services)


def names_called(packages: Path) -> set[str]:
    """Return every name that the code calls on an object, and every paginator and operation that it names.

    They include more than operations, which does no harm.
    """
    code = "".join(text for package in _CALLERS for text in _sources(packages / package))
    named = (r"\.(\w+)", r'get_paginator\("(\w+)"', r'signed\(\S+ "(\w+)"')
    return {name for pattern in named for name in re.findall(pattern, code)}


def slim_model(model: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Trim a service's model to the operations that are called by some of the names, and to their shapes."""
    from botocore import xform_name  # noqa: PLC0415 (the layer's own)

    operations = {name: value for name, value in model["operations"].items() if names & {name, xform_name(name)}}
    waiting = [shape for operation in operations.values() for shape in _shapes_of(operation)]
    shapes: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting += _shapes_of(shapes[name])
    slimmed: dict[str, Any] = _without_documentation({**model, "operations": operations, "shapes": shapes})
    # Botocore asks for these texts at every call of S3.
    for parameter in slimmed.get("clientContextParams", {}).values():
        parameter["documentation"] = ""
    return slimmed


def _shapes_of(part: Mapping[str, Any]) -> list[str]:
    """Return the shapes that an operation or a shape refers to."""
    references = [part[name] for name in ("input", "output", "member", "key", "value") if name in part]
    references += [*part.get("errors", []), *part.get("members", {}).values()]
    return [reference["shape"] for reference in references]


def _without_documentation(value: Any, *, names: bool = False) -> Any:  # noqa: ANN401 (JSON)
    """Return a value without documentation. Keys that are `names` of members stay, even if one is `documentation`."""
    if isinstance(value, list):
        return [_without_documentation(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_documentation(one, names=not names and key in {"members", "operations", "shapes"})
        for key, one in value.items()
        if names or key not in {"documentation", "documentationUrl"}
    }


def _sources(package: Path) -> Iterable[str]:
    return (path.read_text(encoding="utf-8") for path in package.rglob("*.py"))


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
