"""The published contract matches the code, the template and its own examples. Any drift is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.published import ROOT, published

if TYPE_CHECKING:
    from pathlib import Path

PARTS = [
    "tools/contract",
    "tools/modules.py",
    "docs",
    "functions",
    "layers",
    "local",
    "template.yaml",
    "pyproject.toml",
]


def examples(part: Any, where: str) -> list[tuple[str, Any, Any]]:
    """Return all examples in a document, with their places and their schemas."""
    match part:
        case {"schema": schema, "examples": dict(named)}:
            return [(f"{where}/{name}", schema, named[name]["value"]) for name in named if "value" in named[name]]
        case {"schema": schema, "example": example}:
            return [(where, schema, example)]
        case dict():
            return [found for key, value in part.items() for found in examples(value, f"{where}/{key}")]
        case list():
            return [found for index, value in enumerate(part) for found in examples(value, f"{where}/{index}")]
        case _:
            return []


ALL = examples(yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8")), "")


@pytest.mark.parametrize(("where", "schema", "example"), ALL, ids=[where for where, _, _ in ALL])
def test_an_example_fits_its_schema(where: str, schema: Any, example: Any) -> None:
    published().validate(schema, example, where)


def document(name: str) -> Any:
    return yaml.safe_load((ROOT / "docs" / name).read_text(encoding="utf-8"))


def schemas_in(part: Any) -> list[dict[str, Any]]:
    """Return every object in a document. Some of them are schemas."""
    match part:
        case dict():
            return [part, *(found for value in part.values() for found in schemas_in(value))]
        case list():
            return [found for value in part for found in schemas_in(value)]
        case _:
            return []


def test_no_boolean_is_a_constant_of_which_generators_make_a_string() -> None:
    booleans = [schema for schema in schemas_in(document("openapi.yaml")) if schema.get("type") == "boolean"]
    assert booleans
    assert not [schema for schema in booleans if schema.keys() & {"const", "enum"}]


def test_an_operation_has_one_schema_of_success_because_generators_take_only_one() -> None:
    for methods in document("openapi.yaml")["paths"].values():
        for operation in methods.values():
            successes = {
                str(content["schema"])
                for status, response in operation["responses"].items()
                for content in response.get("content", {}).values()
                if status.startswith("2")
            }
            assert len(successes) == 1, operation["operationId"]
            assert "oneOf" not in str(successes), operation["operationId"]


def test_a_client_accepts_fields_that_are_added_to_responses_later() -> None:
    schemas = document("openapi.yaml")["components"]["schemas"]
    requests = {"CustomerInput", "CustomerListInput", "Changes"}
    objects = {name: schema for name, schema in schemas.items() if "properties" in schema}
    assert requests < objects.keys()
    for name, schema in objects.items():
        assert schema["additionalProperties"] is (name not in requests), name


def test_the_two_forms_of_the_document_differ_only_in_the_size_of_integers() -> None:
    sized = document("openapi-int64.yaml")
    marked = [schema for schema in schemas_in(sized) if schema.get("format") == "int64"]
    assert {schema["type"] for schema in marked} == {"integer"}
    for schema in marked:
        del schema["format"]
    assert sized == document("openapi.yaml")


def test_no_schema_has_the_name_that_go_gives_to_the_constructor_of_another() -> None:
    names = document("openapi.yaml")["components"]["schemas"].keys()
    assert not names & {f"New{name}" for name in names}


def test_no_pattern_needs_what_other_dialects_of_regular_expressions_lack() -> None:
    patterns = [schema["pattern"] for schema in schemas_in(document("openapi.yaml")) if "pattern" in schema]
    assert patterns
    assert not [pattern for pattern in patterns if "(?" in pattern or "\\u" in pattern]


def test_every_operation_shows_a_success_and_a_problem() -> None:
    paths = published().document["paths"]
    for operation in (operation for methods in paths.values() for operation in methods.values()):
        shown = {status[0] for status, response in operation["responses"].items() if "content" in response}
        assert {"2", "4"} <= shown, operation["operationId"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project that a test may change."""
    folder = tmp_path_factory.mktemp("project")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def checked(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.contract", "--check"],
        cwd=project,
        env={"PYTHONPATH": "layers/customers", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_published_is_up_to_date(copy: Path) -> None:
    done = checked(copy)
    assert done.returncode == 0, done.stderr


DRIFT = [
    # Only the code was changed, or the template, or the document itself.
    ("layers/customers/customers/http/listing.py", "1, 1000, default=100", "1, 500, default=100", " maximum: 500"),
    ("functions/list_group/app.py", '("asc", "desc")', '("asc", "desc", "random")', " - random"),
    ("functions/authorize/app.py", '"customers:delete": (', '"customers:remove": (', " - customers:remove"),
    ("layers/customers/customers/customer.py", "ge=0, le=150", "ge=0, le=200", " maximum: 200"),
    (
        "layers/customers/customers/http/problems.py",
        '409,\n        "still-running"',
        '425,\n        "still-running"',
        " '425':",
    ),
    ("layers/customers/customers/http/problems.py", '"Retry-After": "1"', '"Retry-After": "9"', "`Retry-After: 9`"),
    ("template.yaml", "Path: /api/customers/group/", "Path: /api/customers/groups/", " /api/customers/groups/"),
    ("docs/openapi.yaml", "  version: ", "  version: 9", "-  version: 9"),
    ("docs/api.md", "| `limit` | 1 to 1000 |", "| `limit` | 1 to 100 |", "-| `limit` | 1 to 100 |"),
]
WORDS = [
    # Now there are facts without words, and words without a fact.
    ("functions/get_customer/app.py", "    request.check()", '    request.flag("deep")', "parameters.deep"),
    ("functions/create_customers/app.py", 'request.flag("dry_run")', "False", "createCustomers.parameters.dry_run"),
    (
        "layers/customers/customers/http/problems.py",
        '"key-reused"',
        '"key-again"',
        "no words for problems.key-again.when",
    ),
    ("layers/customers/customers/errors.py", '    "empty",\n', '    "void",\n', "no words for codes.void"),
    ("tools/contract/words.yaml", "problems:\n", "problems:\n  gone: {when: Never.}\n", "not used: problems.gone.when"),
]


@pytest.mark.parametrize("edits", [DRIFT, WORDS], ids=["drift", "words"])
def test_all_that_no_longer_fits_is_told(copy: Path, edits: list[tuple[str, str, str, str]]) -> None:
    before = {file: (copy / file).read_text(encoding="utf-8") for file, *_ in edits}
    try:
        for file, old, new, _ in edits:
            text = (copy / file).read_text(encoding="utf-8")
            assert old in text, (file, old)
            (copy / file).write_text(text.replace(old, new), encoding="utf-8")
        done = checked(copy)
    finally:
        for file, text in before.items():
            (copy / file).write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert [told for *_, told in edits if told not in done.stderr] == [], done.stderr
