"""What `make run` prints for a request, what `--in-memory` does not touch, and templates that tables cannot follow."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import httpx
import pytest

from customers.tokens import new_token
from tests.integration.laptop import APP, NEW, refused, running, until

pytestmark = pytest.mark.cloud


def test_each_request_is_a_line_that_shows_who_answered_and_nobodys_name(tmp_path: Path) -> None:
    stranger = new_token()
    with running(tmp_path, tmp_path / "data") as run:
        with run.client() as client:
            created = client.post("/api/customers/", json=NEW).json()
            assert client.get(f"/api/customers/{created['id']}").status_code == 200
            assert client.get(f"/api/customers/{created['id']}").status_code == 200
            assert client.get("/api/customers/johanna.doerr@example.com").status_code == 404
            assert client.get("/api/johanna", params={"email": NEW["email"], "doerr": ""}).status_code == 404
            assert client.get("/api/customers/1", headers={"Authorization": ""}).status_code == 401
            assert client.get("/api/customers/1", headers={"Authorization": f"Bearer {stranger}"}).status_code == 401
            for method in ("GET", "HEAD"):
                answer = client.request(method, "/")
                assert (answer.status_code, httpx.URL(answer.headers["Location"]).path) == (302, "/docs/")
            assert client.get("/docs/problems.html").status_code == 200
            assert client.get("/problems/johanna").status_code == 302
            token = client.headers["Authorization"].removeprefix("Bearer ")
        address = httpx.URL(run.url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"GET /johanna x y\r\n\r\n")
            assert b" 400 " in connection.recv(100)
        until(lambda: run.errors.read_text().count("\n") >= 12)
        text = run.errors.read_text()
    fields = [line.split() for line in text.splitlines()]
    assert [(words[0], words[1], words[4:]) for words in fields] == [
        ("POST", "201", ["CreateCustomers", "cold", "/api/customers/"]),
        ("GET", "200", ["GetCustomer", "cold", f"/api/customers/{created['id']}"]),
        ("GET", "200", ["GetCustomer", "warm", f"/api/customers/{created['id']}"]),
        ("GET", "404", ["GetCustomer", "warm", "/api/customers/…"]),
        ("GET", "404", ["gateway", "/api/…?…"]),
        ("GET", "401", ["gateway", "/api/customers/1"]),
        ("GET", "401", ["Authorize", "warm", "/api/customers/1"]),
        ("GET", "302", ["docs", "/"]),
        ("HEAD", "302", ["docs", "/"]),
        ("GET", "200", ["docs", "/docs/problems.html"]),
        ("GET", "302", ["docs", "/problems/…"]),
        ("…", "400", ["gateway", "/"]),
    ]
    assert all(words[2].isdecimal() and words[3] == "ms" for words in fields)
    assert len({line.index(" ms ") for line in text.splitlines()}) == 1
    assert not re.search(r"johanna|doerr|example|cust_", text, re.IGNORECASE)
    assert token not in text


def test_a_throttled_request_is_a_line_and_none_is_if_quiet(tmp_path: Path) -> None:
    arguments = ("--template", str(APP / "template.yaml"), "--parameter", "Burst=0")
    with running(tmp_path, tmp_path / "data", *arguments) as run:
        assert httpx.get(f"{run.url}/things/1", timeout=40).status_code == 429
        until(lambda: "\n" in run.errors.read_text())
    assert re.fullmatch(r"GET +429 +\d+ ms +gateway +/things/1\n", run.errors.read_text())
    with running(tmp_path, tmp_path / "data", *arguments, "--quiet") as run:
        assert httpx.get(f"{run.url}/things/1", timeout=40).status_code == 429
    assert {"address", "data", "ready"} <= run.printed().keys()
    assert run.errors.read_text() == ""


def test_a_template_that_the_kept_tables_cannot_follow_is_told_and_the_one_before_is_served(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(APP, app)
    template = app / "template.yaml"
    before = template.read_text(encoding="utf-8")
    after = before.replace("AttributeName: id", "AttributeName: number").replace("/things/latest", "/things/newest")
    assert after.count("AttributeName: number") == 2
    data = tmp_path / "data"
    with running(tmp_path, data, "--quiet", "--template", str(template)) as run:
        template.write_text(after, encoding="utf-8")
        until(lambda: "\n" in run.errors.read_text())
        latest = httpx.get(f"{run.url}/things/latest", headers={"Authorization": "good"}, timeout=40)
        assert latest.json()["event"]["resource"] == "/things/latest"
    (line,) = run.errors.read_text().splitlines()
    assert line.startswith("the template's change is not served: Table: the template changes the key")
    assert "./customers reset" in line
    assert "Table: the template changes the key" in refused(data, "--template", str(template))


def test_in_memory_begins_empty_and_leaves_alone_what_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    apart = data / "in-memory"
    with running(tmp_path, data) as run, run.client() as client:
        kept = client.post("/api/customers/", json=NEW).json()
        until(lambda: list((data / "streams").glob("*.json")))
    (data / "import-bucket" / "imports" / "later.csv").write_text("first_name,last_name,email,group_id\n")

    def contents() -> dict[str, bytes]:
        files = (file for file in data.rglob("*") if file.is_file() and "in-memory" not in file.parts)
        return {str(file): file.read_bytes() for file in files}

    before = contents()
    with running(tmp_path, data, "--in-memory") as run, run.client() as client:
        assert Path(run.printed()["token"]) == apart / "token"
        first = (apart / "token").read_bytes()
        assert first != (data / "token").read_bytes()
        assert client.post("/api/customers/", json=NEW).status_code == 201
        (apart / "import-bucket" / "imports" / "now.csv").write_text("first_name,last_name,email,group_id\n")
        until(lambda: list((apart / "import-bucket" / "reports").rglob("summary.json")))
        run.process.kill()
    with running(tmp_path, data, "--in-memory") as run, run.client() as client:
        assert (apart / "token").read_bytes() != first
        assert client.get("/api/customers/group/1/").status_code == 404
        assert not list((apart / "import-bucket").rglob("*.*"))
    assert not apart.exists()
    assert contents() == before
    with running(tmp_path, data) as run, run.client() as client:
        assert client.get(f"/api/customers/{kept['id']}").json() == kept
        until(lambda: list((data / "import-bucket" / "reports").rglob("summary.json")))
