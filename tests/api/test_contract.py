"""The published contract, as others use it: a fuzzer, a browser, an API client and a generated client."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser import NoBrowserError, try_reference
from tests.conftest import ROOT, running_service
from tests.fuzz.__main__ import cases, fuzz, main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Service


def test_the_reference_page_works_in_a_browser_and_loads_nothing_from_elsewhere(service: Service) -> None:
    try:
        shown = try_reference(service)
    except NoBrowserError as error:
        # Where a browser could have been installed there is no excuse.
        if "CI" in os.environ or os.getuid() == 0:
            raise
        pytest.skip(str(error))
    assert shown["title"].startswith("Customers API")
    assert shown["statuses"] == {"createCustomers": 201, "getCustomer": 200, "listGroup": 200}
    assert shown["foreign"] == []
    assert shown["errors"] == []


def test_the_page_is_no_way_to_other_files_and_the_problem_types_lead_to_it(service: Service) -> None:
    with httpx.Client(base_url=service.url) as anyone:
        assert anyone.get("/docs").headers["location"] == "/docs/"
        assert anyone.get("/docs/openapi.yaml").content == (ROOT / "docs/openapi.yaml").read_bytes()
        assert anyone.get("/problems/not-found").headers["location"] == "/docs/problems.html#not-found"
        for path in ("/docs", "/docs/", "/docs/page.js", "/problems/not-found", "/docs/none"):
            assert len(anyone.get(path).headers.get_list("X-Request-Id")) == 1, path
            assert anyone.delete(path).status_code == 404, path
        page = anyone.get("/docs/problems.html").text
        assert '<h2 id="not-found">' in page
        for path in ("/docs/token", "/docs/..%2ftoken", "/docs/%2e%2e/token", "/docs//etc/passwd", "/docs/swagger-ui/"):
            assert anyone.get(path).status_code == 404, path
        for name in ("%0d%0aSet-Cookie:%20a=b", "%0a", "A", "", "%C3%A9", "a%20b", "%3Cscript%3E", "a" * 101):
            assert anyone.get(f"/problems/{name}").status_code == 404, name


def test_the_page_as_files_calls_the_api_it_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.reference", str(tmp_path / "page"), "--api", "https://api.example.com/prod"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    files = {file.relative_to(tmp_path / "page").as_posix() for file in (tmp_path / "page").rglob("*")}
    assert {"index.html", "page.js", "page.css", "problems.html", "swagger-ui/swagger-ui-bundle.js"} <= files
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
        # Of pytest's own seed, so that it repeats this too.
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
