"""The laptop cloud serves a template over HTTP as API Gateway and Lambda would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

_ROOT = Path(__file__).parents[2]
_APP = Path(__file__).with_name("local_app")
_STOP_SECONDS = 5
_PATIENCE = 120
"""Seconds. A busy machine may need many times as long as an idle one."""
_TIMEOUT = 3
"""Seconds, as the template says."""
_GOOD = {"Authorization": "good"}


def _start(app: Path, data: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "--template", str(app / "template.yaml"), *arguments],
        cwd=_ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return process, line.split()[1]
    process.wait()
    raise AssertionError("it ended before it was ready")


def _stop(process: subprocess.Popen[str], number: int = signal.SIGTERM, seconds: int = _PATIENCE) -> int:
    process.send_signal(number)
    try:
        return process.wait(seconds)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _serving(app: Path, data: Path, *arguments: str) -> Iterator[httpx.Client]:
    process, url = _start(app, data, *arguments)
    try:
        with httpx.Client(base_url=url, timeout=40) as client:
            yield client
    finally:
        assert _stop(process) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    with _serving(_APP, data) as client:
        yield client


def _do(client: httpx.Client, **command: object) -> httpx.Response:
    return client.post("/open", content=json.dumps(command), headers={"Content-Type": "application/json"})


def _problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-Id"]
    return response.status_code, response.json()["type"]


def test_a_function_gets_a_rest_proxy_event(client: httpx.Client) -> None:
    response = client.get(
        "/things/a%2Fb%20c?q=1&q=2&empty=", headers=[("Authorization", "good"), ("X-A", "1"), ("X-A", "2")]
    )
    event = response.json()["event"]
    assert event["resource"] == "/things/{thing}"
    assert event["path"] == "/things/a%2Fb%20c"
    assert event["pathParameters"] == {"thing": "a/b c"}
    assert event["queryStringParameters"] == {"q": "2", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"q": ["1", "2"], "empty": [""]}
    assert {name.lower(): value for name, value in event["headers"].items()}["x-a"] == "2"
    assert {name.lower(): value for name, value in event["multiValueHeaders"].items()}["x-a"] == ["1", "2"]
    assert (event["body"], event["isBase64Encoded"], event["stageVariables"]) == (None, False, None)
    context = event["requestContext"]
    # Numbers and booleans arrive as text.
    assert context["authorizer"].pop("asked").isdecimal()
    assert context["authorizer"] == {"principalId": "good", "admin": "true"}
    assert (context["stage"], context["resourcePath"], context["httpMethod"]) == ("test", "/things/{thing}", "GET")
    assert context["identity"]["sourceIp"] == "127.0.0.1"


def test_every_request_has_its_own_id(client: httpx.Client) -> None:
    ids = {client.get("/things/1", headers=_GOOD).json()["event"]["requestContext"]["requestId"] for _ in range(3)}
    assert len(ids) == 3


def test_no_query_is_null(client: httpx.Client) -> None:
    event = client.get("/things/1", headers=_GOOD).json()["event"]
    assert event["queryStringParameters"] is None
    assert event["multiValueQueryStringParameters"] is None


@pytest.mark.parametrize(("path", "resource"), [("/things/1", "/things/{thing}"), ("/things/latest", "/things/latest")])
def test_a_trailing_slash_changes_nothing_but_the_path(client: httpx.Client, path: str, resource: str) -> None:
    for sent in (path, path + "/"):
        event = client.get(sent, headers=_GOOD).json()["event"]
        assert (event["resource"], event["path"], event["requestContext"]["path"]) == (resource, sent, sent)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/things"),
        ("GET", "/things//"),
        ("GET", "//things/1"),
        ("GET", "/things/1/2"),
        ("PUT", "/things/1"),
        ("OPTIONS", "/things/1"),
        ("GET", "/open"),
    ],
)
def test_an_unknown_path_or_method_is_the_templates_404(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, httpx.URL(str(client.base_url).rstrip("/") + path), headers=_GOOD)
    assert _problem(response) == (404, "MISSING_AUTHENTICATION_TOKEN")
    assert response.json()["instance"] == (f"/.{path}" if path.startswith("//") else path)


def test_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/things/1", headers=_GOOD)
    assert (response.status_code, response.content) == (404, b"")


def test_a_hostile_path_does_not_break_the_problem(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(b'GET /a"\\,"type":"x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404")
    assert json.loads(body)["instance"] == "/a%22%5C,%22type%22:%22x"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
        b"POST /open HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /open HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_problem_too(client: httpx.Client, request_bytes: bytes) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(request_bytes)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "DEFAULT_4XX"


def test_a_binary_body_arrives_byte_for_byte(client: httpx.Client) -> None:
    body = bytes(range(256))
    headers = {"Content-Type": "application/octet-stream; x=y"}
    event = client.post("/open", content=body, headers=headers).json()["event"]
    assert event["isBase64Encoded"] is True
    assert b64decode(event["body"]) == body


def test_a_text_that_is_not_utf8_is_mended(client: httpx.Client) -> None:
    event = client.post("/open", content=b"a\xffb", headers={"Content-Type": "text/plain"}).json()["event"]
    assert (event["body"], event["isBase64Encoded"]) == ("a�b", False)


@pytest.mark.parametrize("size", [10 * 1024 * 1024 + 1, 7 * 1024 * 1024])
def test_too_large_a_body_is_413(client: httpx.Client, size: int) -> None:
    assert _problem(client.post("/open", content=b"x" * size)) == (413, "REQUEST_TOO_LARGE")


def test_too_large_a_result_is_a_failure(client: httpx.Client) -> None:
    assert _problem(_do(client, do="fill", length=6 * 1024 * 1024)) == (500, "INTEGRATION_FAILURE")
    assert len(_do(client, do="fill", length=5 * 1024 * 1024).content) == 5 * 1024 * 1024


@pytest.mark.parametrize(
    ("token", "status", "kind"),
    [
        (None, 401, "UNAUTHORIZED"),
        ("", 401, "UNAUTHORIZED"),
        ("NOT LIKE THAT", 401, "UNAUTHORIZED"),
        ("unknown", 401, "UNAUTHORIZED"),
        ("broken", 500, "AUTHORIZER_FAILURE"),
        ("malformed", 500, "AUTHORIZER_CONFIGURATION_ERROR"),
        ("other", 403, "ACCESS_DENIED"),
    ],
)
def test_the_authorizer_refuses(client: httpx.Client, token: str | None, status: int, kind: str) -> None:
    headers = {} if token is None else {"Authorization": token}
    assert _problem(client.get("/things/1", headers=headers)) == (status, kind)


def test_a_denial_wins_and_the_kept_policy_is_applied_to_each_path(client: httpx.Client) -> None:
    headers = {"Authorization": "almost"}
    first = client.get("/things/1", headers=headers).json()["event"]["requestContext"]["authorizer"]["asked"]
    assert _problem(client.get("/things/secret", headers=headers)) == (403, "ACCESS_DENIED")
    assert client.get("/things/2", headers=headers).json()["event"]["requestContext"]["authorizer"]["asked"] == first


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"statusCode": "many"},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "headers": {"A": "b\r\nC: d"}},
        {"statusCode": 200, "body": "*", "isBase64Encoded": True},
    ],
)
def test_a_malformed_result_is_a_failure(client: httpx.Client, value: object) -> None:
    assert _problem(_do(client, do="return", value=value)) == (500, "INTEGRATION_FAILURE")


def test_a_result_becomes_the_response(client: httpx.Client) -> None:
    value = {
        "statusCode": 207,
        "headers": {"Content-Type": "text/plain", "ETag": '"1"'},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
        "body": "aGk=",
        "isBase64Encoded": True,
    }
    response = _do(client, do="return", value=value)
    assert (response.status_code, response.content, response.headers["ETag"]) == (207, b"hi", '"1"')
    assert response.headers.get_list("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("status", [204, 304])
def test_no_content_has_no_content_type(client: httpx.Client, status: int) -> None:
    response = _do(client, do="return", value={"statusCode": status, "body": ""})
    assert (response.status_code, response.content) == (status, b"")
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize(
    "command",
    [{"do": "raise", "message": "a secret"}, {"do": "exit"}, {"do": "hang"}, {"do": "allocate", "bytes": 10**9}],
)
def test_a_function_that_fails_is_a_failure_and_the_next_call_works(
    client: httpx.Client, command: dict[str, Any]
) -> None:
    response = _do(client, **command)
    assert _problem(response) == (500, "INTEGRATION_FAILURE")
    assert "secret" not in response.text
    assert client.get("/things/1", headers=_GOOD).status_code == 200


def test_what_a_function_prints_is_in_its_log_and_disturbs_nothing(client: httpx.Client, data: Path) -> None:
    assert _do(client, do="print", text="a line of mine").status_code == 204
    assert "a line of mine\n" in (data / "logs" / "Echo.log").read_text(encoding="utf-8")


def test_a_function_sees_its_own_environment_and_packages_only(client: httpx.Client) -> None:
    seen = client.get("/things/1", headers=_GOOD).json()
    environment = seen["environment"]
    assert environment["TABLE"] == "Table"
    assert environment["STACK"].startswith("arn:aws:cloudformation:")
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"].startswith("http://127.0.0.1:")
    assert "AWS_ENDPOINT_URL" not in environment
    assert "HOME" not in environment
    assert not any("site-packages" in entry for entry in seen["path"])
    assert 0 < seen["remaining_ms"] <= _TIMEOUT * 1000


def test_a_burst_over_the_limit_is_throttled(tmp_path: Path) -> None:
    with _serving(_APP, tmp_path, "--parameter", "Burst=0") as client:
        assert _problem(client.get("/things/1", headers=_GOOD)) == (429, "THROTTLED")


def test_without_a_cache_the_authorizer_is_asked_each_time(tmp_path: Path) -> None:
    with _serving(_APP, tmp_path, "--parameter", "CacheSeconds=0", "--in-memory") as client:
        asked = [
            client.get("/things/1", headers=_GOOD).json()["event"]["requestContext"]["authorizer"]["asked"]
            for _ in range(2)
        ]
    assert asked == ["1", "2"]


def test_changes_are_served_without_a_restart(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(_APP, app)
    with _serving(app, tmp_path / "data") as client:
        assert client.get("/things/1", headers=_GOOD).json()["greeting"] == "hello"
        shared = app / "layer" / "shared.py"
        shared.write_text('GREETING = "good morning"\n', encoding="utf-8")
        _until(lambda: client.get("/things/1", headers=_GOOD).json()["greeting"] == "good morning")
        template = app / "template.yaml"
        text = template.read_text(encoding="utf-8")
        template.write_text(text.replace("/things/latest", "/things/newest"), encoding="utf-8")
        _until(lambda: client.get("/things/newest", headers=_GOOD).json()["event"]["resource"] == "/things/newest")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(tmp_path: Path, number: int) -> None:
    process, url = _start(_APP, tmp_path)
    httpx.get(f"{url}/things/1", headers=_GOOD)
    children = _descendants(process.pid)
    assert len(children) >= 3
    assert _stop(process, number, _STOP_SECONDS) == 0
    assert not any(map(_runs, children))


def test_nothing_outlives_a_kill(tmp_path: Path) -> None:
    process, url = _start(_APP, tmp_path)
    httpx.get(f"{url}/things/1", headers=_GOOD)
    children = _descendants(process.pid)
    _stop(process, signal.SIGKILL)
    _until(lambda: not any(map(_runs, children)))


def _descendants(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    pairs = (line.split() for line in found.splitlines())
    parents = {int(child): int(parent) for child, parent in pairs}
    direct = [child for child, parent in parents.items() if parent == pid]
    return direct + [grandchild for child in direct for grandchild in _descendants(child)]


def _runs(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_taken_port_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "local", "--template", str(_APP / "template.yaml")],
            cwd=_ROOT,
            env={**os.environ, "DATA_DIR": str(tmp_path), "PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_serves_one_at_a_time(client: httpx.Client, data: Path) -> None:
    assert client.get("/things/1", headers=_GOOD).status_code == 200
    done = subprocess.run(
        [sys.executable, "-m", "local", "--template", str(_APP / "template.yaml")],
        cwd=_ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_the_real_service_starts_and_its_example_works_after_a_restart_and_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    tokens = set()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "local"],
            cwd=_ROOT,
            env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready"):
                break
        (example,) = [line.removeprefix("try").strip() for line in lines if line.startswith("try")]
        answer = subprocess.run(["bash", "-c", example], check=True, capture_output=True, text=True).stdout
        assert json.loads(answer) == {"valid": True, "count": 1}
        tokens.add((data / "token").read_text(encoding="ascii"))
        assert stat.S_IMODE((data / "token").stat().st_mode) == 0o600
        _stop(process, number)
    assert len(tokens) == 1
