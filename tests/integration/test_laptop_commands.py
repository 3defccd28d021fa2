"""`./customers status`, `logs` and `reset` show and delete what `make run` keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.conftest import ROOT, Service, running_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

NEW = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1}
PATIENCE = 60


def command(data: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/customers'}"},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service in which one customer was created."""
    with running_service(tmp_path_factory.mktemp("data"), "--quiet") as service, service.client() as client:
        assert client.post("/api/customers/", json=NEW).status_code == 201
        assert client.get("/api/customers/1").status_code == 404
        yield service


def test_status_tells_people_what_is_running_and_what_it_holds(own: Service) -> None:
    done = command(own.data, "status")
    assert done.returncode == 0, done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert told["running"].startswith("yes, for ")
    assert f"process {own.process.pid}" in told["running"]
    assert told["address"] == own.url
    assert told["data"].startswith(str(own.data))
    assert told["customers"] == "about 1"
    assert told["waiting"] == "nothing in the queues"
    assert "CreateCustomers" in told["functions"].split(", ")


def test_status_tells_programs_the_same_and_counts_what_waits(own: Service) -> None:
    running = json.loads((own.data / "endpoints.json").read_text())
    words: Any = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    sqs = boto3.client("sqs", endpoint_url=running["aws"], **words)
    url = sqs.get_queue_url(QueueName="ImportDeadLetters")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="left")
    told = json.loads(command(own.data, "status", "--json").stdout)
    assert (told["running"], told["address"], told["pid"]) == (True, own.url, own.process.pid)
    assert told["customers"] == 1
    assert told["queues"]["ImportDeadLetters"] == 1
    assert 0 <= told["seconds"] < PATIENCE * 10
    assert told["bytes"]["dynamodb.sqlite"] == (own.data / "dynamodb.sqlite").stat().st_size
    assert "waiting    ImportDeadLetters 1\n" in command(own.data, "status").stdout
    sqs.purge_queue(QueueUrl=url)
    sqs.close()


@pytest.mark.parametrize("name", ["GetCustomer", "getcustomer", "get_customer", "get-customer"])
def test_logs_of_a_function_are_its_lines(own: Service, name: str) -> None:
    done = command(own.data, "logs", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (own.data / "logs" / "GetCustomer.log").read_text()
    last = command(own.data, "logs", name, "-n", "1").stdout
    assert last == done.stdout.splitlines(keepends=True)[-1]


def test_logs_of_all_functions_say_whose_each_line_is(own: Service) -> None:
    lines = command(own.data, "logs", "-n", "1000").stdout.splitlines()
    functions = {line.partition("|")[0].strip() for line in lines}
    assert {"CreateCustomers", "GetCustomer"} <= functions
    assert not functions & {"dynamodb", "services"}
    times = [json.loads(line.partition("| ")[2])["timestamp"] for line in lines if "| {" in line]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GetCustmer", "Did you mean GetCustomer?"),
        ("create", "Did you mean CreateCustomers?"),
        ("[/nope]", "There are: Authorize, "),
    ],
)
def test_an_unknown_function_gets_a_hint(own: Service, name: str, hint: str) -> None:
    done = command(own.data, "logs", name)
    assert done.returncode == 2
    assert hint in " ".join(done.stderr.split())


def test_a_function_that_has_logged_nothing_has_no_lines(own: Service) -> None:
    done = command(own.data, "logs", "DeleteCustomer")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_log_cannot_control_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "Echo.log").write_text("\x1b]0;title\x07 [/x] é\tend\n")
    assert command(tmp_path, "logs", "Echo").stdout == "\\x1b]0;title\\x07 [/x] é\tend\n"


def test_following_shows_what_comes_and_ends_with_ctrl_c(own: Service, tmp_path: Path) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    with out.open("w") as output, errors.open("w") as error_output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "logs", "ListGroup", "--follow", "--lines", "0"],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(own.data), "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/customers'}"},
            stdout=output,
            stderr=error_output,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        with own.client() as client:
            # Calls before the command has begun are not shown.
            while not out.read_text():
                assert time.monotonic() < deadline
                assert client.get("/api/customers/group/77/").status_code == 404
                time.sleep(0.1)
        assert '"level":' in out.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert errors.read_text() == ""
    finally:
        process.kill()
        process.wait()


def test_reset_refuses_while_the_service_runs(own: Service) -> None:
    done = command(own.data, "reset", "--yes")
    assert done.returncode == 1
    assert "is running. Stop it first" in done.stderr
    with own.client() as client:
        assert client.get("/api/customers/group/1/").status_code == 200


def test_reset_asks_and_deletes_only_what_is_the_services(tmp_path: Path) -> None:
    app = ("--template", str(ROOT / "tests" / "integration" / "local_app" / "template.yaml"))
    data = tmp_path / "data"
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-m", "local", *app],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("ready"))
            process.terminate()
        assert command(data, "status").returncode == 1
        assert "running    no. Start it: make run" in command(data, "status").stdout
        (data / "mine").write_text("kept")
        for answer in ("n\n", "\n", ""):
            done = command(data, "reset", typed=answer)
            assert done.returncode == 1
            assert "This cannot be undone." in done.stderr
            assert (data / "dynamodb.sqlite").exists()
        done = command(data, "reset", typed="y\n")
        assert done.returncode == 0
        assert [file.name for file in data.iterdir()] == ["mine"]
    (data / "mine").unlink()
    (data / "token").write_text("x")
    assert command(data, "reset", "--yes").returncode == 0
    assert not data.exists()
    done = command(data, "reset", "--yes")
    assert (done.returncode, "There is no data in" in done.stderr) == (0, True)


def test_without_data_the_commands_say_how_to_start(tmp_path: Path) -> None:
    done = command(tmp_path / "none", "logs")
    assert done.returncode == 1
    assert "make run" in done.stderr
    done = command(tmp_path / "none", "status")
    assert (done.returncode, "make run" in done.stdout) == (1, True)
    assert not (tmp_path / "none").exists()
