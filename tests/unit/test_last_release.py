"""What a live stack would lose in the next deployment: nothing.

`last_release/template.yaml` is the template of the last release or, until the first release, an earlier one. cfn-lint's
copy of the resource types says what CloudFormation replaces:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.template import document
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

type Resources = dict[str, Any]

NEW_EACH_TIME = frozenset({"AWS::ApiGateway::Deployment", "AWS::Lambda::LayerVersion"})
"""Types whose resources are versions of something."""
HOLD_NOTHING = frozenset({"AWS::CloudWatch::Dashboard", "AWS::Lambda::Permission"})
"""Types whose resources may be replaced: the new one is as good as the old one."""
HOLD_DATA = frozenset({
    "AWS::ApiGateway::DomainName",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
})  # fmt: skip
"""Types whose resources must not be lost: they hold data, or an address that others use."""
KEPT_BY_A_POLICY = frozenset({"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket"})


def losses(before: Resources, after: Resources) -> list[str]:
    """Say what a deployment would replace or lose, and what DynamoDB would refuse."""
    found = []
    for name, old in before.items():
        new = after.get(name)
        if old["Type"] in NEW_EACH_TIME | HOLD_NOTHING:
            continue
        if new is None or new["Type"] != old["Type"]:
            if old["Type"] in HOLD_DATA:
                found.append(f"{name} would be deleted")
            continue
        found += [f"{name} would be replaced: {path}" for path in _replacing(old, new)]
        if old["Type"] in KEPT_BY_A_POLICY and _keeps(old) and not _keeps(new):
            found.append(f"{name} would no longer be kept")
        if old["Type"] == "AWS::DynamoDB::Table":
            found += [f"{name}: {refusal}" for refusal in _refused(old["Properties"], new["Properties"])]
    return found


def _replacing(old: Resources, new: Resources) -> Iterator[str]:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", old["Type"]).schema
    for path in schema.get("createOnlyProperties", []) + schema.get("conditionalCreateOnlyProperties", []):
        if _at(old, path) != _at(new, path):
            yield path


def _at(resource: Resources, path: str) -> Any:
    value: Any = resource.get("Properties", {})
    for part in path.removeprefix("/properties/").split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _keeps(resource: Resources) -> bool:
    return resource.get("DeletionPolicy", "").startswith("Retain") and resource.get("UpdateReplacePolicy") == "Retain"


def _refused(old: Resources, new: Resources) -> Iterator[str]:
    """Say what DynamoDB cannot change in an existing table."""
    indexes, new_indexes = (
        {each["IndexName"]: each for each in table.get("GlobalSecondaryIndexes", [])} for table in (old, new)
    )
    if len(indexes.keys() ^ new_indexes.keys()) > 1:
        yield "more than one index would be created or deleted"
    for index in sorted(indexes.keys() & new_indexes.keys()):
        if indexes[index] != new_indexes[index]:
            yield f"the index {index} would be replaced"
    types, new_types = (
        {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]} for table in (old, new)
    )
    for attribute in sorted(types.keys() & new_types.keys()):
        if types[attribute] != new_types[attribute]:
            yield f"the key attribute {attribute} would have another type"
    if old.get("StreamSpecification") != new.get("StreamSpecification"):
        yield "the stream would be replaced, and unpublished changes lost"
    if old.get("LocalSecondaryIndexes") != new.get("LocalSecondaryIndexes"):
        yield "a local index would be changed"


def translated(source: Resources, **parameters: str) -> Resources:
    defaults = {name: str(each.get("Default", "")) for name, each in source["Parameters"].items()}
    resources: Resources = document._transform(ROOT / "template.yaml", source, defaults | parameters)["Resources"]  # noqa: SLF001 (as the laptop does)
    return resources


def read(name: str) -> Resources:
    """Return a template of its own: without aliases, so that a test can change a single place."""
    source: Resources = json.loads(_read(name))
    return source


@functools.cache
def _read(name: str) -> str:
    return json.dumps(yaml_parse((ROOT / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def released() -> Resources:
    return translated(read("tests/last_release/template.yaml"))


@pytest.fixture(scope="module")
def current() -> Resources:
    return translated(read("template.yaml"))


def test_a_deployment_over_the_last_release_loses_nothing(released: Resources, current: Resources) -> None:
    assert len(released) > 50
    assert losses(released, current) == []


def index(name: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": [{"AttributeName": "group_id", "KeyType": "HASH"}], "Projection": {}}


def _rename(name: str) -> Callable[[Resources], object]:
    return lambda resources: resources.update({f"{name}2": resources.pop(name)})


def _table(change: Callable[[dict[str, Any]], object]) -> Callable[[Resources], object]:
    return lambda resources: change(resources["CustomersTable"]["Properties"])


def _first(table: dict[str, Any]) -> Any:
    return table["GlobalSecondaryIndexes"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename("CustomersTable"), "CustomersTable would be deleted"),
        (_rename("ImportBucket"), "ImportBucket would be deleted"),
        (_rename("ImportQueue"), "ImportQueue would be deleted"),
        (_rename("EventBus"), "EventBus would be deleted"),
        (_rename("Api"), "Api would be deleted"),
        (_rename("GetCustomerLogs"), "GetCustomerLogs would be deleted"),
        (lambda all_: all_["EventBus"]["Properties"].update(Name="x"), "EventBus would be replaced"),
        (lambda all_: all_["ImportQueue"]["Properties"].update(FifoQueue=True), "ImportQueue would be replaced"),
        (lambda all_: all_["ImportBucket"]["Properties"].update(BucketName="x"), "ImportBucket would be replaced"),
        (lambda all_: all_["TokensTable"].update(DeletionPolicy="Delete"), "TokensTable would no longer be kept"),
        (lambda all_: all_["DataKey"].pop("UpdateReplacePolicy"), "DataKey would no longer be kept"),
        (_table(lambda table: table.update(TableName="x")), "CustomersTable would be replaced"),
        (_table(lambda table: table["KeySchema"].pop()), "CustomersTable would be replaced"),
        (_table(lambda table: table["StreamSpecification"].update(StreamViewType="KEYS_ONLY")), "the stream"),
        (_table(lambda table: table["AttributeDefinitions"][1].update(AttributeType="S")), "another type"),
        (_table(lambda table: table["GlobalSecondaryIndexes"].extend([index("a"), index("b")])), "more than one index"),
        (_table(lambda table: table["GlobalSecondaryIndexes"].__delitem__(slice(2))), "more than one index"),
        (_table(lambda table: table["GlobalSecondaryIndexes"][0].update(IndexName="x")), "more than one index"),
        (_table(lambda table: _first(table)["Projection"].pop("NonKeyAttributes")), "the index group-index would"),
        (_table(lambda table: _first(table)["KeySchema"].pop()), "the index group-index would be replaced"),
    ],
)  # fmt: skip
def test_what_a_live_stack_would_lose_is_found(
    released: Resources, change: Callable[[Resources], object], said: str
) -> None:
    changed = copy.deepcopy(released)
    change(changed)
    found = losses(released, changed)
    assert any(said in line for line in found), found


def test_one_new_index_and_a_new_table_are_no_loss(released: Resources) -> None:
    changed = copy.deepcopy(released)
    changed["CustomersTable"]["Properties"]["GlobalSecondaryIndexes"].append(index("a"))
    changed["Another"] = copy.deepcopy(changed["TokensTable"])
    assert losses(released, changed) == []


OTHER_VALUES = {
    "AuthorizerCacheSeconds": "7",
    "CorsOrigins": "https://app.example.com",
    "HistoryDays": "0",
    "Stage": "other",
    "ThrottleBurst": "7",
    "ThrottleRate": "7",
}
"""Values for the parameters that change the API."""


def _named_in(node: Any, conditions: Resources) -> Iterator[str]:
    """Return what a part of the template refers to, including by its conditions."""
    if isinstance(node, list):
        for part in node:
            yield from _named_in(part, conditions)
    elif isinstance(node, dict):
        for key, part in node.items():
            condition = part[0] if key == "Fn::If" else part if key == "Condition" else None
            if isinstance(condition, str):
                yield from _named_in(conditions[condition], conditions)
            if key == "Ref":
                yield part
            yield from _named_in(part, conditions)


def test_it_is_known_which_parameters_change_the_api() -> None:
    source = read("template.yaml")
    resources = source["Resources"].values()
    routed = [each for each in resources if '"Type": "Api"' in json.dumps(each["Properties"].get("Events", {}))]
    # A function changes the API only by being there or not.
    parts = [source["Resources"]["Api"], *({"Condition": each["Condition"]} for each in routed if "Condition" in each)]
    assert set(_named_in(parts, source["Conditions"])) & source["Parameters"].keys() == OTHER_VALUES.keys()


def test_what_changes_with_a_parameter_is_documented_once() -> None:
    page = (ROOT / "docs" / "changing.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| what changes \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    # In the first column, only parameters are marked as code.
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(read("template.yaml")["Parameters"])


@pytest.mark.parametrize("parameter", OTHER_VALUES)
def test_the_stage_serves_what_a_parameter_changes(parameter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    # A deployment is named after the second in which it is made.
    monkeypatch.setattr("samtranslator.model.apigateway.time", SimpleNamespace(time=lambda: next(seconds)))
    before = _deployment(translated(read("template.yaml")))
    after = _deployment(translated(read("template.yaml"), **{parameter: OTHER_VALUES[parameter]}))
    assert before != after


def _deployment(resources: Resources) -> str:
    """Return the deployment that the stage serves. A deployment is a copy of the API, made once."""
    (stage,) = (each for each in resources.values() if each["Type"] == "AWS::ApiGateway::Stage")
    name: str = stage["Properties"]["DeploymentId"]["Ref"]
    assert resources[name]["Type"] == "AWS::ApiGateway::Deployment"
    return name
