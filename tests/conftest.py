"""What the tests share: a real engine with the template's tables, the functions on it, and the whole laptop cloud."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import httpx
import pytest

from local.data_folder import IN_MEMORY
from local.engine import Engine
from local.stack import Stack, read_stack
from local.tables import create_tables
from local.template import Template
from tests.published import published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 5

type Handler = Callable[[dict[str, Any], object], dict[str, Any]]


class Service(NamedTuple):
    """A running laptop cloud."""

    url: str
    token: str
    data: Path
    process: subprocess.Popen[str]

    def client(self) -> httpx.Client:
        """Make a client that sends the token, and holds every answer against the published contract."""
        headers = {"Authorization": f"Bearer {self.token}"}
        hooks = {"response": [published().check_response]}
        return httpx.Client(base_url=self.url, headers=headers, timeout=40, event_hooks=hooks)


def tokens_kept(service: Service) -> list[str]:
    """Give the tokens that stand in a service's tables or logs: there must be none."""
    running = json.loads((service.data / "endpoints.json").read_text())
    client = boto3.client(
        "dynamodb",
        endpoint_url=running["dynamodb"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    tables = client.list_tables()["TableNames"]
    logs = list((service.data / "logs").iterdir())
    assert tables
    assert logs
    pages = (page["Items"] for name in tables for page in client.get_paginator("scan").paginate(TableName=name))
    dump = "".join([*(str(items) for items in pages), *(log.read_text() for log in logs)])
    assert service.token[5:48] not in dump
    return re.findall(r"cust_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", dump)


@contextmanager
def running_service(data: Path, *arguments: str) -> Iterator[Service]:
    """Run `python -m local` on a free port until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            url = next(line.split()[1] for line in process.stdout if line.startswith("ready"))
            if "--in-memory" in arguments:
                data /= IN_MEMORY
            yield Service(url, (data / "token").read_text().strip(), data, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                # How fast it ends is for the tests about that.
                process.wait(120)
            finally:
                process.kill()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), "--in-memory") as running:
        yield running
        # What all the tests together have left behind.
        assert tokens_kept(running) == []


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def stack() -> Stack:
    stack_id = "arn:aws:cloudformation:us-east-1:123456789012:stack/tests/1"
    return read_stack(Template(ROOT / "template.yaml", {}, stack_id=stack_id))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with what `sam build` makes: its template.yaml, the functions and the layer."""
    folder = tmp_path_factory.mktemp("built") / "build"
    # Where nothing has changed since the last time, sam takes it from its cache.
    command = ["sam", "build", "--build-dir", str(folder), "--cached", "--cache-dir", str(ROOT / ".aws-sam" / "cache")]
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[str]:
    """Give the URL of an engine that holds the template's tables, in memory."""
    running = Engine(ROOT / "node_modules", None, tmp_path_factory.mktemp("engine") / "log")
    try:
        create_tables(running.endpoint, stack.tables)
        yield running.endpoint
    finally:
        running.close()


@pytest.fixture(scope="session")
def dynamodb(engine: str) -> DynamoDBClient:
    return boto3.client(
        "dynamodb",
        endpoint_url=engine,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture(scope="session")
def function(engine: str, stack: Stack) -> Iterator[Callable[[str], Handler]]:
    """Give a function's handler by its logical id, imported in this process with its own environment."""
    handlers: dict[str, Handler] = {}
    patch = pytest.MonkeyPatch()

    def load(name: str) -> Handler:
        if name not in handlers:
            declared = stack.functions[name]
            for key, value in declared.environment.items():
                patch.setenv(key, engine if key.startswith("AWS_ENDPOINT_URL") else value)
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(key, "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
            spec = importlib.util.spec_from_file_location(f"app_{name}", declared.code / "app.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            handlers[name] = module.lambda_handler
        return handlers[name]

    yield load
    patch.undo()
