"""The stack that `sam deploy` makes of the real template, in MiniStack: an emulated cloud on this machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import boto3
import httpx
import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.services.server_process import HOST, ServerProcess, free_port
from tests.api.support import any_group, create, create_list, customer_body
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STACK = "customers-deployed"
MINISTACK = ROOT / ".venv" / "ministack" / "bin" / "ministack"
REGION = "us-east-1"


class Cloud(NamedTuple):
    """An emulated account."""

    endpoint: str
    environment: Mapping[str, str]
    """Lets the tools of AWS, and ours, find it."""

    def client(self, service: str) -> Any:
        """Make a client for one of its services."""
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program that talks to it."""
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=False, capture_output=True, text=True, timeout=300
        )


class Deployed(NamedTuple):
    """The stack in it."""

    outputs: Mapping[str, str]
    url: str
    headers: Mapping[str, str]
    """What leads to its API: the emulator tells APIs apart by the host name, which no resolver knows."""

    def caller(self, token: str | None) -> httpx.Client:
        """Make a client that sends this token, or none."""
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers={**self.headers, **authorization}, timeout=60)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("ministack")
    port = free_port()
    endpoint = f"http://{HOST}:{port}"
    # In the template, AWS_ENDPOINT_URL is empty, which means AWS itself. A function looks here next.
    config = folder / "aws_config"
    config.write_text(f"[default]\nendpoint_url = {endpoint}\n")
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "AWS_CONFIG_FILE": str(config),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "IOT_MTLS_ENABLED": "0",
    }
    env = shutil.which("env")
    assert env is not None
    assert MINISTACK.is_file(), "run: make .venv/ministack/.ready"
    command = [env, "-i", *(f"{name}={value}" for name, value in settings.items()), str(MINISTACK)]
    server = ServerProcess("emulated cloud", command, port, folder / "log")
    try:
        server.wait_until_ready()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        yield Cloud(
            endpoint,
            {
                **inherited,
                "PATH": settings["PATH"],
                "AWS_CONFIG_FILE": str(config),
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": REGION,
                "SAM_CLI_TELEMETRY": "0",
            },
        )
    finally:
        server.close()


class Before(NamedTuple):
    """The stack as the last release deployed it, with customers in it."""

    customers: list[dict[str, Any]]
    """300, all in one group."""
    spare: dict[str, Any]
    """One more, in another group, for a test to change."""
    resources: Mapping[str, tuple[str, str]]
    """Type and physical id of each, by logical id."""


@pytest.fixture(scope="session")
def before(cloud: Cloud, built: Path) -> Before:
    """Deploy the last release, whose template is in `last_release`, and create 300 customers."""
    deployed = _deploy(cloud, _last_release(built))
    group = any_group()
    with deployed.caller(_new_token(cloud, "write")) as client:
        rows = [customer_body(group, last_name=f"Doe {number}") for number in range(300)]
        customers = [
            created for start in range(0, 300, 100) for created in create_list(client, rows[start : start + 100])
        ]
        spare = create(client, any_group())
    return Before(customers, spare, physical_resources(cloud))


@pytest.fixture(scope="session")
def deployed(cloud: Cloud, built: Path, before: Before) -> Deployed:
    """Update that stack to the project as it is now. All the tests use the updated stack."""
    assert len(before.customers) == 300
    return _deploy(cloud, built / "template.yaml")


def _deploy(cloud: Cloud, template: Path) -> Deployed:
    # The functions run on this machine's processor. Everything else is what `sam deploy` does by default.
    architecture = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    command: list[str | Path] = ["sam", "deploy", "--template-file", _without_refused(template)]
    command += ["--config-file", ROOT / "samconfig.toml", "--stack-name", STACK, "--no-confirm-changeset"]
    command += ["--parameter-overrides", f"Architecture={architecture}"]
    done = cloud.run(*command)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{_failures(cloud)}"
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    _mend_mappings(cloud)
    address = re.fullmatch(r"https://([0-9a-z]+)\.execute-api\.us-east-1\.amazonaws\.com/([a-z]+)", outputs["ApiUrl"])
    assert address is not None, outputs["ApiUrl"]
    return Deployed(outputs, f"{cloud.endpoint}/{address[2]}", {"Host": f"{address[1]}.execute-api.{HOST}"})


def _last_release(built: Path) -> Path:
    """Return the last release's template with the code of this build: only the template of a release is kept."""
    content = yaml_parse((ROOT / "tests" / "last_release" / "template.yaml").read_text())
    now = yaml_parse((built / "template.yaml").read_text())["Resources"]
    for name, resource in content["Resources"].items():
        for place in ("CodeUri", "ContentUri"):
            if place in resource.get("Properties", {}):
                resource["Properties"][place] = now[name]["Properties"][place]
    template = built / "last_release.yaml"
    template.write_text(json.dumps(content))
    return template


def physical_resources(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Return the resources of the stack: type and physical id, by logical id."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    found = (each for page in pages for each in page["StackResourceSummaries"])
    return {each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"]) for each in found}


_UNKNOWN_TYPES: Final = frozenset({"AWS::Events::Archive", "AWS::Logs::QueryDefinition"})
"""Of resources that no function uses."""


def _without_refused(template: Path) -> Path:
    """Leave out what the emulator refuses: alarms on more than one metric, and types that it does not know."""
    content = yaml_parse(template.read_text())
    resources = content["Resources"]
    for name in [name for name, resource in resources.items() if "Metrics" in resource.get("Properties", {})]:
        assert resources.pop(name)["Type"] == "AWS::CloudWatch::Alarm"
    for name in [name for name, resource in resources.items() if resource["Type"] in _UNKNOWN_TYPES]:
        del resources[name]
    rest = template.with_suffix(".without_refused.json")
    rest.write_text(json.dumps(content))
    return rest


def _failures(cloud: Cloud) -> list[tuple[str, str]]:
    events = cloud.client("cloudformation").describe_stack_events(StackName=STACK)["StackEvents"]
    return [
        (event["LogicalResourceId"], event["ResourceStatusReason"])
        for event in events
        if event.get("ResourceStatusReason")
    ]


def _mend_mappings(cloud: Cloud) -> None:
    """Set numbers from parameters again: the emulator keeps them as text, and its pollers fail on them."""
    functions = cloud.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        if concurrency := mapping.get("ScalingConfig", {}).get("MaximumConcurrency"):
            functions.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": int(concurrency)}
            )


def _new_token(cloud: Cloud, scopes: str) -> str:
    """Make a token with some scopes, with the command line."""
    options = ["--scopes", scopes, "--label", "the tests", "--stack", STACK]
    done = cloud.run(ROOT / "customers", "token", "create", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def new_token(cloud: Cloud, deployed: Deployed) -> Callable[[str], str]:
    """Return a function that makes a token with some scopes."""
    assert deployed.outputs["TokensTableName"]
    return lambda scopes: _new_token(cloud, scopes)


@pytest.fixture(scope="session")
def client(deployed: Deployed, new_token: Callable[[str], str]) -> Iterator[httpx.Client]:
    with deployed.caller(new_token("read,write,delete")) as client:
        yield client


@pytest.fixture
def group() -> int:
    """Return a group that no other test uses."""
    return any_group()
