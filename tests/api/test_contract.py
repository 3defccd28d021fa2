"""The published contract, as others use it: a fuzzer, a browser, an API client and a generated client."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from local.reference import write_reference
from tests.browser import a_browser_if_there_can_be_one, try_reference
from tests.conftest import ROOT, running_service
from tests.fuzz.__main__ import cases, fuzz, main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Service


def test_the_reference_page_works_in_a_browser_and_loads_nothing_from_elsewhere(service: Service) -> None:
    with a_browser_if_there_can_be_one():
        shown = try_reference(service)
    assert shown["title"] == "Customers API"
    pages = ["Errors", "Idempotency", "Paging", "Versions", "Imports"]
    assert [name for name in shown["pages"] if name in pages] == pages
    assert shown["statuses"] == {
        "Create one customer, or up to a hundred": "201 Created",
        "Create or replace": "201 Created",
        "Create or replace again": "200 OK",
        "List a group": "200 OK",
        "Get a customer": "404 Not Found",
    }
    assert shown["looks"] == {
        f"{device} {look}": {"inSight": device == "desktop", "cutOff": False, "dark": look == "dark"}
        for device in ("desktop", "phone")
        for look in ("light", "dark")
    }
    assert shown["foreign"] == []
    assert shown["errors"] == []


def test_the_page_gets_the_token_on_the_laptop_alone(service: Service, tmp_path: Path) -> None:
    own = httpx.get(f"{service.url}/docs/laptop.json")
    assert own.json() == {"token": service.token}
    assert own.headers["Cache-Control"] == "no-store"
    for host in ("evil.example", f"evil.example:{service.url.rpartition(':')[2]}", "127.0.0.1.evil.example", "[::"):
        assert httpx.get(f"{service.url}/docs/laptop.json", headers={"Host": host}).json() == {}, host
    write_reference(ROOT / "docs", tmp_path / "page", ROOT / "node_modules", "https://api.example.com/prod")
    assert (tmp_path / "page/laptop.json").read_text() == "{}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may be somebody else")
def test_the_page_of_another_person_gets_no_token(service: Service) -> None:
    nobody = 65534
    with httpx.Client() as other:
        os.seteuid(nobody)
        try:
            # From here on, the connection belongs to the other user.
            assert other.get(f"{service.url}/docs/laptop.json").json() == {}
        finally:
            os.seteuid(0)
        assert other.get(f"{service.url}/docs/laptop.json").json() == {}


@pytest.mark.parametrize("path", ["/docs/", "/docs/openapi.yaml", "/docs/laptop.json", "/docs/none", "/docs"])
def test_head_gets_no_content_of_the_page(path: str, service: Service) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=40) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.partition(b"\r\n\r\n")[2] == b""


def test_the_page_is_no_way_to_other_files_and_the_problem_types_lead_to_it(service: Service) -> None:
    with httpx.Client(base_url=service.url) as anyone:
        assert anyone.get("/docs").headers["location"] == "/docs/"
        assert anyone.get("/docs/openapi.yaml").content == (ROOT / "docs/openapi.yaml").read_bytes()
        assert anyone.get("/problems/not-found").headers["location"] == "/docs/problems.html#not-found"
        for path in ("/docs", "/docs/", "/docs/page.js", "/problems/not-found", "/docs/none"):
            headers = anyone.get(path).headers
            assert len(headers.get_list("X-Request-Id")) == 1, path
            assert headers.get_list("Cache-Control") == ["no-store"], path
            assert headers.get_list("X-Content-Type-Options") == ["nosniff"], path
            assert anyone.delete(path).status_code == 404, path
        page = anyone.get("/docs/problems.html").text
        assert '<h2 id="not-found">' in page
        for path in ("/docs/token", "/docs/..%2ftoken", "/docs/%2e%2e/token", "/docs//etc/passwd", "/docs/scalar/"):
            assert anyone.get(path).status_code == 404, path
        for name in ("%0d%0aSet-Cookie:%20a=b", "%0a", "A", "", "%C3%A9", "a%20b", "%3Cscript%3E", "a" * 101):
            assert anyone.get(f"/problems/{name}").status_code == 404, name


def test_the_page_as_files_calls_the_api_it_is_told(tmp_path: Path) -> None:
    write_reference(ROOT / "docs", tmp_path / "page", ROOT / "node_modules", "https://api.example.com/prod")
    files = {file.relative_to(tmp_path / "page").as_posix() for file in (tmp_path / "page").rglob("*")}
    assert {"index.html", "page.js", "page.css", "problems.html", "scalar/standalone.js", "laptop.json"} <= files
    document = (tmp_path / "page/openapi.yaml").read_text(encoding="utf-8")
    assert "servers:\n- url: https://api.example.com/prod\n" in document
    assert "url: /\n" not in document


def test_the_request_collection_runs_from_first_to_last(service: Service) -> None:
    collection = "docs/customers.postman_collection.json"
    command = ["tools/lint/node_modules/.bin/newman", "run", collection, "--color", "off"]
    variables = [f"base_url={service.url}", f"token={service.token}"]
    done = subprocess.run(
        [*command, *(argument for variable in variables for argument in ("--env-var", variable))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("✓  answers") == (ROOT / collection).read_text(encoding="utf-8").count("pm.test(")


def test_a_generated_python_client_creates_reads_and_lists(service: Service, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    generator = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
        *("--path", str(ROOT / "docs/openapi.yaml"), "--output-path", str(tmp_path / "customers_api_client")),
    ]
    made = subprocess.run(generator, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr + made.stdout
    done = subprocess.run(
        [sys.executable, ROOT / "docs/examples/python_client.py", service.url, service.data / "token"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["created", "read", "listed"]
    assert int(done.stdout.split()[-1]) >= 1


def test_fuzzing_in_all_phases_finds_nothing(tmp_path: Path) -> None:
    with running_service(tmp_path, "--in-memory") as own:
        # Drawn from pytest's seed, so that the same seed repeats this too.
        done = fuzz(own, "--max-examples", "10", "--seed", str(random.getrandbits(32)))
    assert done.returncode == 0, done.stdout
    assert cases(done.stdout) > 400


def test_a_number_of_examples_bounds_one_run_of_the_fuzzer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--max-examples", "2", "--seed", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"seed 1: (\d+) requests", line)
    assert found is not None
    assert 5 <= int(found[1]) <= 100


def test_fuzzing_finds_a_planted_mutation(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("functions", "layers"):
        shutil.copytree(ROOT / name, project / name)
    shutil.copy(ROOT / "template.yaml", project)
    mutated = project / "functions/create_customers/app.py"
    text = mutated.read_text(encoding="utf-8")
    assert "Response(201, customer," in text
    # A status that the contract does not have.
    mutated.write_text(text.replace("Response(201, customer,", "Response(202, customer,"), encoding="utf-8")
    with running_service(tmp_path / "data", "--in-memory", "--template", str(project / "template.yaml")) as own:
        done = fuzz(own, "--phases", "examples", "--include-operation-id", "createCustomers", "--seed", "1")
    assert done.returncode == 1
    assert "Undocumented status code" in done.stdout
