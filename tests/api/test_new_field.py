"""A new field takes one declaration, a new sort order one more word and an index. Tried on a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.api.support import wait_until
from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUSTOMER: Final = "layers/customers/customers/customer.py"
AGE: Final = """            Listing(sorts=True, on_request=True),
        ]
    ]
"""
PHONE: Final = """    phone: NotRequired[
        Annotated[
            Annotated[str, StringConstraints(max_length=30)] | None,
            Field(description="A telephone number."),{listing}
        ]
    ]
"""
INDEX: Final = """        - IndexName: group-by-phone
          KeySchema:
            - *group
            - AttributeName: phone_sort
              KeyType: RANGE
          Projection: *projection
"""
ATTRIBUTE: Final = """        - AttributeName: phone_sort
          AttributeType: S
"""
JOHN: Final = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 7}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project's own files, which a test may change."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    copy = tmp_path / "project"
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    (copy / "node_modules").symlink_to(ROOT / "node_modules")
    return copy


def declare(project: Path, listing: str = "") -> None:
    file = project / CUSTOMER
    text = file.read_text()
    assert text.count(AGE) == 1
    file.write_text(text.replace(AGE, AGE + PHONE.format(listing=listing)))


def run(project: Path, *program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "layers/customers", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", *program]
    return subprocess.run(command, cwd=project, env=environment, check=False, capture_output=True, text=True)


@contextmanager
def serving(project: Path, data: Path, *arguments: str) -> Iterator[httpx.Client]:
    with running_service(data, *arguments, project=project) as service:
        headers = {"Authorization": f"Bearer {service.token}"}
        with httpx.Client(base_url=f"{service.url}/api/customers", headers=headers, timeout=40) as client:
            yield client


def group(client: httpx.Client, group_id: int, size: int) -> list[dict[str, Any]]:
    """Return the customers of a group, once there are this many."""

    def found() -> list[dict[str, Any]]:
        customers: list[dict[str, Any]] = client.get(f"/group/{group_id}").json().get("customers", [])
        return customers

    wait_until(lambda: len(found()) == size)
    return found()


def test_a_field_is_one_declaration(project: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(ROOT, data) as client:
        before = client.post("/", json=JOHN).raise_for_status().json()
        assert client.post("/", json={**JOHN, "phone": "1"}).status_code == 400

    declare(project)
    changed = {CUSTOMER, *_written_by_make_openapi(project)}
    assert changed == {CUSTOMER, "docs/api.md", "docs/openapi.yaml", "docs/openapi-int64.yaml"}
    assert (
        "| `phone` | string or null | optional; at most 30 characters. A telephone number. |"
        in (project / "docs/api.md").read_text()
    )
    done = run(
        project,
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "tests/unit/test_compiled.py",
        "tests/unit/test_indexes.py",
        "tests/unit/store",
    )
    assert done.returncode == 0, done.stdout

    with serving(project, data) as client:
        # This customer was stored before the field was added.
        assert client.get(f"/{before['id']}").json() == {**before, "phone": None}
        new = client.post("/", json={**JOHN, "phone": "+49 89 1234"}).raise_for_status().json()
        assert new["phone"] == "+49 89 1234"
        (error,) = client.post("/", json={**JOHN, "phone": "1" * 31}).json()["errors"]
        assert (error["pointer"], error["code"]) == ("#/phone", "too_long")
        assert client.patch(f"/{before['id']}", json={"phone": "112"}).json()["phone"] == "112"
        assert client.patch(f"/{new['id']}", json={"phone": None}).json()["phone"] is None
        assert client.get(f"/{before['id']}").json()["phone"] == "112"
        assert {row["id"]: row["phone"] for row in group(client, 7, 2)} == {before["id"]: "112", new["id"]: None}

        imports = data / "import-bucket" / "imports"
        (imports / "people.csv").write_text(
            "phone,first_name,last_name,email,group_id\n110,Jo,Doe,jo@example.com,8\n,Al,Doe,al@example.com,8\n"
        )
        assert {row["first_name"]: row["phone"] for row in group(client, 8, 2)} == {"Al": None, "Jo": "110"}
        events = data / "events.jsonl"
        wait_until(lambda: '"changed":["phone"]' in events.read_text().replace(" ", ""))


def test_a_sort_order_is_one_word_and_the_index_that_a_test_asks_for(project: Path, tmp_path: Path) -> None:
    declare(project, "\n            Listing(sorts=True),")
    done = run(project, "pytest", "-q", "-p", "no:randomly", "tests/unit/test_indexes.py")
    assert done.returncode == 1
    template = project / "template.yaml"
    text = template.read_text()
    for part, place in (
        (INDEX, "        - IndexName: group-by-created-at\n"),
        (ATTRIBUTE, "        - AttributeName: created_at_sort\n          AttributeType: S\n"),
    ):
        # What the command says to write is what the test writes.
        assert all(line in done.stdout for line in part.splitlines())
        assert text.count(place) == 1
        text = text.replace(place, part + place)
    template.write_text(text)
    done = run(project, "pytest", "-q", "-p", "no:randomly", "tests/unit/test_indexes.py")
    assert done.returncode == 0, done.stdout

    with serving(project, tmp_path / "data", "--in-memory") as client:
        phones = [None, "3", "20", "1"]
        body = {"customers": [{**JOHN, "phone": phone} for phone in phones]}
        client.post("/?size=list", json=body).raise_for_status()
        query: dict[str, str | int] = {"sort": "phone", "order": "desc", "limit": 3}
        page = client.get("/group/7", params=query).json()
        assert [row["phone"] for row in page["customers"]] == [None, "3", "20"]
        rest = client.get("/group/7", params={**query, "cursor": page["next_cursor"]}).json()
        assert ([row["phone"] for row in rest["customers"]], rest["next_cursor"]) == (["1"], None)


def _written_by_make_openapi(project: Path) -> list[str]:
    before = {file: file.read_bytes() for file in (project / "docs").rglob("*") if file.is_file()}
    done = run(project, "tools.contract")
    assert done.returncode == 0, done.stderr
    assert run(project, "tools.contract", "--check").returncode == 0
    return [str(file.relative_to(project)) for file, content in before.items() if file.read_bytes() != content]
