"""What the tests share: a real engine with the template's tables, the functions on it, and the whole laptop cloud."""

from __future__ import annotations

import fcntl
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
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from local.data_folder import IN_MEMORY
from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.document import Template
from local.template.stack import Stack, read_stack
from tests.aws_limits import limits_of_aws
from tests.published import published
from tools.modules import module_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 5
_LONG = 60
_LONGEST = (
    "tests/environment/",
    "tests/integration/test_local_events.py",
    "tests/deployed/",
    "tests/integration/test_instructions.py",
    "tests/integration/test_imports.py",
    "tests/api/test_durability.py",
    "tests/integration/test_exactly_once.py",
    "tests/api/test_faults.py",
    "tests/api/test_contract.py",
    "tests/integration/test_local_cloud.py",
    "tests/api/test_errors.py",
    "tests/api/test_tokens.py",
    "tests/api/test_shop_examples.py",
)
"""What takes longest, in that order."""

# A busy machine may take any time for an example.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

type Handler = Callable[[dict[str, Any], object], dict[str, Any]]


class ByModule(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Hand out each module as a whole, so that what its tests share is started only once."""

    def _split_scope(self, nodeid: str) -> str:
        # All of these share the one stack that was deployed.
        return "tests/deployed" if nodeid.startswith("tests/deployed/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    """Decide which worker runs which tests."""
    return ByModule(config, log)


def pytest_configure() -> None:
    """Let Ctrl-C end programs that the tests start, even if a shell started the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the workers begin with what takes longest, so that no worker is left alone with it at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, long in enumerate(_LONGEST) if item.nodeid.startswith(long)), 99))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test after the beginning of a long value."""
    if isinstance(val, str | bytes) and len(val) > _LONG:
        return f"{val[:_LONG]!r}[{len(val)}]"
    return None


class Service(NamedTuple):
    """A running laptop cloud."""

    url: str
    token: str
    data: Path
    process: subprocess.Popen[str]

    def client(self) -> httpx.Client:
        """Make a client that sends the token, and checks every answer against the published contract."""
        headers = {"Authorization": f"Bearer {self.token}"}
        hooks = {"response": [published().check_response]}
        return httpx.Client(base_url=self.url, headers=headers, timeout=40, event_hooks=hooks)


def tokens_kept(service: Service) -> list[str]:
    """Return the tokens that appear in a service's tables or logs. There must be none."""
    running = json.loads((service.data / "endpoints.json").read_text())
    client = dynamodb_client(running["dynamodb"])
    tables = client.list_tables()["TableNames"]
    logs = list((service.data / "logs").iterdir())
    assert tables
    assert logs
    pages = (page["Items"] for name in tables for page in client.get_paginator("scan").paginate(TableName=name))
    dump = "".join([*(str(items) for items in pages), *(log.read_text() for log in logs)])
    assert service.token[5:48] not in dump
    return re.findall(r"cust_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", dump)


@contextmanager
def running_service(data: Path, *arguments: str, project: Path = ROOT) -> Iterator[Service]:
    """Run `python -m local` on a free port until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        cwd=project,
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
                # Other tests check how fast it ends.
                process.wait(120)
            finally:
                process.kill()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), "--in-memory") as running:
        yield running
        # All the tests together have left none behind.
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
    """Return the folder with what `sam build` makes: its template.yaml, the functions and the layer."""
    base = tmp_path_factory.getbasetemp()
    # The first worker that needs it builds it for all workers of this run. Their folders are side by side.
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, whole = run / "build", run / "build.whole"
    with (run / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            _build(folder)
            whole.touch()
    return folder


def _build(folder: Path) -> None:
    # What has not changed since the last build, sam takes from its cache.
    command = ["sam", "build", "--build-dir", str(folder), "--cached", "--cache-dir", str(ROOT / ".aws-sam" / "cache")]
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def running_engine(folder: Path, stack: Stack) -> Iterator[str]:
    """Run an engine that holds the template's tables, in memory, until the block ends."""
    running = Engine(ROOT / "node_modules", None, folder / "log")
    try:
        create_tables(running.endpoint, stack.tables)
        yield running.endpoint
    finally:
        running.close()


def dynamodb_client(endpoint: str) -> DynamoDBClient:
    """Make a client of an engine."""
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def use_engine(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let the layer's own clients, which are configured by the environment, call an engine."""
    patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture(scope="session", autouse=True)
def _limits_of_aws() -> Iterator[None]:
    with limits_of_aws():
        yield


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[str]:
    """Return the URL of an engine that holds the template's tables, in memory."""
    with running_engine(tmp_path_factory.mktemp("engine"), stack) as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb(engine: str) -> DynamoDBClient:
    return dynamodb_client(engine)


@pytest.fixture(scope="module")
def function(engine: str, stack: Stack) -> Iterator[Callable[[str], Handler]]:
    """Return a function's handler by its logical id, imported in this process with its own environment.

    The environment stays for the whole module, because a handler reads some of it only when it is called.
    """
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
            handlers[name] = module_at(declared.code / "app.py").lambda_handler
        return handlers[name]

    yield load
    patch.undo()
