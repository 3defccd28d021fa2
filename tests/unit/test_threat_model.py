"""The threat model is true: its tests exist, and what it says about the template is in the template."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from customers.errors import InvalidError
from customers.imports.files.report import report_line
from customers.imports.files.rows import Layout, Row
from customers.imports.files.values import RowParser
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
RESOURCES: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"]
CONSUME = {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"}


def of_type(kind: str) -> dict[str, Any]:
    found = {name: resource for name, resource in RESOURCES.items() if resource["Type"] == kind}
    assert found
    return found


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(named) > 40
    assert named <= set(re.findall(r"^ *def (test_\w+)", "\n".join(files), re.MULTILINE))


def told_roles() -> dict[str, dict[str, set[str]]]:
    """Return the actions on each resource, by function, from the page."""
    told = {}
    for name, rights in re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.MULTILINE):
        rows = [right.replace("\\", "").split(": ") for right in rights.split("; ") if right != "nothing"]
        told[name] = {resource: set(actions.split(", ")) for resource, actions in rows}
    return told


def short(resource: Any) -> str:
    """Return a policy's resource as the page writes it: its name in the template, and the place in it."""
    match resource:
        case {"Fn::GetAtt": [name, "Arn"]} | {"Fn::GetAtt": str(name)}:
            return str(name).removesuffix(".Arn")
        case {"Fn::GetAtt": [name, "StreamArn"]}:
            return f"{name}/stream"
        case {"Fn::Sub": str(text)}:
            return re.sub(r"^\$\{(\w+)\.Arn\}", r"\1", text)
    pytest.fail(f"neither a resource of this stack nor a place in one: {resource}")


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_each_role_may_do_what_the_threat_model_says_and_nothing_else() -> None:
    told = told_roles()
    functions = of_type("AWS::Serverless::Function")
    assert told.keys() == functions.keys()
    for name, function in functions.items():
        assert "Policies" not in function["Properties"], name
        role = RESOURCES[f"{name}Role"]["Properties"]
        assert role.keys() == {"AssumeRolePolicyDocument", "Policies"}, name
        given: dict[str, set[str]] = {}
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement.keys() - {"Condition"} == {"Effect", "Action", "Resource"}, name
                for resource in as_list(statement["Resource"]):
                    place = re.sub(r"/index/[\w-]+$", "/index", short(resource))
                    if "Condition" in statement:
                        place += f"/{statement['Condition']['ForAllValues:StringEquals']['dynamodb:LeadingKeys'][0]}"
                    actions = {action.partition(":")[2] for action in as_list(statement["Action"])}
                    given.setdefault(place, set()).update(actions)
        assert given.pop(f"{name}Logs") == {"CreateLogStream", "PutLogEvents"}, name
        shortened = {
            place: actions - CONSUME | {"consume"} if actions >= CONSUME else actions
            for place, actions in given.items()
        }
        assert shortened == told[name], name


def statements(kind: str) -> list[tuple[list[Any], dict[str, Any]]]:
    """Return each statement in policies of a kind, with the resource that it belongs to."""
    return [
        (_owners(policy), statement)
        for policy in of_type(kind).values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


POLICIES = ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy")


def test_no_policy_of_a_resource_lets_in_anyone_but_services_for_this_account() -> None:
    kinds = {resource["Type"] for resource in RESOURCES.values() if resource["Type"].endswith("Policy")}
    assert kinds == set(POLICIES)
    allowed = [one for kind in POLICIES for _, one in statements(kind) if one["Effect"] == "Allow"]
    assert [(one["Principal"], one["Action"]) for one in allowed] == [
        ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage"),
        ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish"),
    ]
    for one in allowed:
        assert one["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    (bucket,) = of_type("AWS::S3::Bucket").values()
    blocked = bucket["Properties"]["PublicAccessBlockConfiguration"]
    assert len(blocked) == 4
    assert all(blocked.values())


@pytest.mark.parametrize(
    ("kind", "policy", "action", "resources"),
    [
        # In a queue's policy, `*` means the queue.
        ("AWS::SQS::Queue", POLICIES[0], "sqs:*", ["*"]),
        # SNS refuses a policy that names `sns:*`: https://github.com/cdklabs/cdk-nag/issues/676
        ("AWS::SNS::Topic", POLICIES[1], "sns:Publish", [{"Ref": "AlarmTopic"}]),
        (
            "AWS::S3::Bucket",
            POLICIES[2],
            "s3:*",
            [{"Fn::GetAtt": ["ImportBucket", "Arn"]}, {"Fn::Sub": "${ImportBucket.Arn}/*"}],
        ),
    ],
)
def test_every_queue_the_topic_and_the_bucket_refuse_plain_text(
    kind: str, policy: str, action: str, resources: list[Any]
) -> None:
    refusing = [
        owner["Ref"]
        for owners, one in statements(policy)
        for owner in owners
        if (one["Effect"], one["Principal"], one["Condition"])
        == ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}})
        and (as_list(one["Action"]), as_list(one["Resource"])) == ([action], resources)
    ]
    assert sorted(refusing) == sorted(of_type(kind))
    owned = [owner["Ref"] for properties in of_type(policy).values() for owner in _owners(properties)]
    assert len(owned) == len(set(owned)), "a second policy of a resource would replace the first"


def _owners(policy: dict[str, Any]) -> list[Any]:
    properties = policy["Properties"]
    return properties.get("Queues") or properties.get("Topics") or [properties["Bucket"]]


KEY_USERS = ("dynamodb", "sqs", "logs")
ENCRYPT = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]


def test_the_own_key_is_granted_to_tables_alone_and_used_by_services_for_this_account_alone() -> None:
    (key,) = of_type("AWS::KMS::Key").values()
    administration, *uses = key["Properties"]["KeyPolicy"]["Statement"]
    assert administration["Sid"] == "Administration"
    account = {"Ref": "AWS::AccountId"}
    dynamodb, sqs, logs = ({"Fn::Sub": f"{name}.${{AWS::Region}}.${{AWS::URLSuffix}}"} for name in KEY_USERS)
    log_groups = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${AWS::StackName}-*"
    assert [(use["Effect"], use["Principal"], as_list(use["Action"]), use["Condition"]) for use in uses] == [
        (
            "Allow",
            {"AWS": "*"},
            ENCRYPT,
            {"StringEquals": {"kms:CallerAccount": account, "kms:ViaService": [dynamodb, sqs]}},
        ),
        (
            "Allow",
            {"AWS": "*"},
            ["kms:CreateGrant"],
            {
                "Bool": {"kms:GrantIsForAWSResource": "true"},
                "StringEquals": {"kms:CallerAccount": account, "kms:ViaService": dynamodb},
            },
        ),
        (
            "Allow",
            {"Service": logs},
            ENCRYPT,
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": {"Fn::Sub": log_groups}}},
        ),
        (
            "Allow",
            {"Service": ["s3.amazonaws.com", "cloudwatch.amazonaws.com"]},
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            {"StringEquals": {"aws:SourceAccount": account}},
        ),
    ]


def _policies(name: str) -> tuple[str, str]:
    return RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"]


def test_what_holds_customers_outlives_a_mistake() -> None:
    kept = {name: table for name, table in of_type("AWS::DynamoDB::Table").items() if name != "AnswersTable"}
    assert {"CustomersTable", "TokensTable"} < kept.keys()
    # Without the key, nobody can read the tables.
    stays = {*kept, *(name for kind in ("AWS::S3::Bucket", "AWS::KMS::Key") for name in of_type(kind))}
    for name in stays:
        # After a failed first deployment, leftovers would be in the way of the next one.
        assert _policies(name) == ("RetainExceptOnCreate", "Retain"), name
    # The account's setting also serves other APIs, whatever becomes of this stack.
    for name in (*of_type("AWS::ApiGateway::Account"), "AccessLogAccountRole"):
        assert _policies(name) == ("Retain", "Retain"), name
    for name, table in kept.items():
        properties = table["Properties"]
        assert properties["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}, name
        assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name


def test_a_flood_of_files_or_messages_leaves_functions_for_calls() -> None:
    functions = of_type("AWS::Serverless::Function").values()
    events = [event for function in functions for event in function["Properties"].get("Events", {}).values()]
    queues = [event["Properties"] for event in events if event["Type"] == "SQS"]
    assert len(queues) == 5
    for queue in queues:
        # Without it, one queue may take all the functions of the account.
        assert queue["ScalingConfig"]["MaximumConcurrency"] in (5, {"Ref": "MaximumConcurrency"}), queue


@pytest.mark.parametrize("hostile", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", '"=1+1"'])
def test_what_a_report_adds_to_a_row_is_no_formula(hostile: str) -> None:
    layout = Layout("csv", ("first_name", "last_name", "email", "group_id", "age"), ",")
    cell = '"' + hostile.replace('"', '""') + '"'
    original = ",".join([cell] * 5).encode()
    with pytest.raises(InvalidError) as refused:
        RowParser(layout).parse(original)
    line = report_line(layout, Row(7, original), refused.value.errors)
    number, told, *rest = next(csv.reader([line.decode()]))
    assert number == "7"
    assert told.startswith("email: ") or told[0].isalpha()
    assert hostile.strip() not in told
    # The row comes back as it was sent, to be fixed.
    assert line.removesuffix(b"\r\n").endswith(original)
    assert len(rest) == 5


def test_the_query_for_a_leaked_token_reads_the_log_of_every_endpoint() -> None:
    functions = of_type("AWS::Serverless::Function").values()
    endpoints = [
        function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
        for function in functions
        if any(event["Type"] == "Api" for event in function["Properties"].get("Events", {}).values())
    ]
    (query,) = of_type("AWS::Logs::QueryDefinition").values()
    groups = [group.get("Fn::If", [None, group])[1]["Ref"] for group in query["Properties"]["LogGroupNames"]]
    assert sorted([*groups, "PreflightLogs"]) == sorted(endpoints)
