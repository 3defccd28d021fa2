"""The deployed stack is what the template says, and the gateway's own responses are true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.gateway.responses import GatewayResponses
from tests.conftest import ROOT

if TYPE_CHECKING:
    from local.template.stack import Stack

TEMPLATE = ROOT / "template.yaml"
# What the gateway can answer itself without an API key, a usage plan or a firewall. For what the template leaves out,
# AWS uses its own status and the text of a DEFAULT response.
RESPONSE_TYPES = (
    "ACCESS_DENIED",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "EXPIRED_TOKEN",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "THROTTLED",
    "UNAUTHORIZED",
    "UNSUPPORTED_MEDIA_TYPE",
)


def aliases(template: Path) -> list[str]:
    tokens = yaml.scan(template.read_text(encoding="utf-8"))
    return [token.value for token in tokens if isinstance(token, yaml.AliasToken)]


def properties(template: Path) -> dict[str, Any]:
    """Return the properties of each resource, except where its code is."""
    resources = yaml_parse(template.read_text(encoding="utf-8"))["Resources"]
    return {
        name: {key: value for key, value in resource["Properties"].items() if key not in {"CodeUri", "ContentUri"}}
        for name, resource in resources.items()
    }


@pytest.mark.cloud
def test_sam_build_writes_out_the_aliases_which_cloudformation_refuses_and_changes_nothing_else(built: Path) -> None:
    assert aliases(TEMPLATE)
    assert aliases(built / "template.yaml") == []
    assert properties(built / "template.yaml") == properties(TEMPLATE)


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_each_response_of_the_gateway_is_a_problem_with_its_own_status(stack: Stack, response_type: str) -> None:
    context = {"path": "/api/customers", "requestId": "r1"}
    response = GatewayResponses(stack.api.gateway_responses).render(response_type, None, context)
    problem = json.loads(response.body)
    assert problem["status"] == response.status
    assert problem["instance"] == "/api/customers"
    assert problem["type"].removeprefix("/problems/").replace("-", " ") in problem["title"].lower()
    assert {
        ("Content-Type", "application/problem+json"),
        ("X-Request-Id", "r1"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    } <= set(response.headers)


def test_the_default_and_the_production_stack_ask_before_they_deploy() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    asks = {name: settings[name]["deploy"]["parameters"]["confirm_changeset"] for name in ("default", "dev", "prod")}
    assert asks == {"default": True, "dev": False, "prod": True}


def test_what_belongs_to_the_whole_account_is_named_by_the_region_too() -> None:
    resources = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))["Resources"].values()
    names = [each["Properties"]["DashboardName"] for each in resources if each["Type"] == "AWS::CloudWatch::Dashboard"]
    assert names == [{"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}]
    # Names of roles and policies would be account-wide too, so they have no names of their own.
    assert not any("RoleName" in each.get("Properties", {}) for each in resources)


@pytest.mark.parametrize("absent", [set(), {"HistoryTable"}], ids=["with-a-history", "without-one"])
def test_the_program_that_adopts_kept_tables_makes_a_template_that_stands_alone(
    absent: set[str], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"adopt\.py (.*) > adopt\.json", program)
    names = [name for name in shown.split() if name not in absent]
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=ROOT, check=True, capture_output=True, text=True)
    adopted = json.loads(done.stdout)
    live = {
        name
        for name, each in yaml_parse(TEMPLATE.read_text(encoding="utf-8"))["Resources"].items()
        if each["Type"] == "AWS::DynamoDB::Table" and each["DeletionPolicy"].startswith("Retain")
    }
    assert adopted["Resources"].keys() == live - absent
    # CloudFormation imports only resources that are kept when the stack is deleted.
    assert all(table["DeletionPolicy"] == "RetainExceptOnCreate" for table in adopted["Resources"].values())
    (tmp_path / "adopt.json").write_text(done.stdout)
    linted = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), tmp_path / "adopt.json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


def test_the_template_words_no_response_that_is_not_tested(stack: Stack) -> None:
    assert set(stack.api.gateway_responses) <= set(RESPONSE_TYPES)
