"""What only the deployed stack has: its tokens, its imports, its events."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from tests.api.support import COLLECTION, create, customer_body, group_path, path_of, wait_until, walk
from tests.conftest import ROOT
from tests.deployed.conftest import STACK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from tests.deployed.conftest import Cloud, Deployed

SOON = 120.0
"""Seconds. The emulator polls its queues in turn, and this machine may be busy."""


def test_a_token_of_the_command_line_may_call_what_its_scopes_name_and_nothing_else(
    deployed: Deployed, client: httpx.Client, new_token: Callable[[str], str], group: int
) -> None:
    customer = create(client, group)
    with deployed.caller(new_token("read")) as reader:
        assert reader.get(path_of(customer)).json() == customer
        assert reader.get(group_path(group)).status_code == 200
        assert reader.post(COLLECTION, json=customer_body(group)).status_code == 403
        assert reader.delete(path_of(customer)).status_code == 403
    assert walk(client, group, age="true") == [customer]


def test_who_has_no_token_of_this_stack_is_not_let_in(deployed: Deployed, client: httpx.Client) -> None:
    mine = client.headers["Authorization"].removeprefix("Bearer ")
    for token in (None, "cust_x", mine[:-1], mine[:-1] + ("0" if mine[-1] != "0" else "1")):
        with deployed.caller(token) as stranger:
            assert stranger.get("/api/customers/1").status_code == 401


def test_a_file_that_is_dropped_into_the_bucket_becomes_customers_and_a_report(
    cloud: Cloud, deployed: Deployed, client: httpx.Client, group: int, tmp_path: Path
) -> None:
    file = tmp_path / f"{group}.csv"
    good = [f"Jane,Doe,jane.{number}@example.com,{group}" for number in range(2500)]
    file.write_text("\n".join(["first_name,last_name,email,group_id", *good, f",Doe,nobody,{group}", ""]))
    done = cloud.run(ROOT / "customers", "import", file, "--json", "--stack", STACK)
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    counts = {name: summary[name] for name in ("status", "created", "already_there", "rejected", "broken")}
    assert counts == {"status": "completed", "created": 2500, "already_there": 0, "rejected": 1, "broken": None}
    assert len(walk(client, group, limit=1000)) == 2500
    bucket = deployed.outputs["ImportBucketName"]
    report = (
        cloud.client("s3").get_object(Bucket=bucket, Key=summary["rejected_rows"])["Body"].read().decode("utf-8-sig")
    )
    (row,) = csv.DictReader(report.splitlines())
    assert (row["import_row"], row["email"]) == ("2501", "nobody")


def test_a_message_becomes_a_customer_and_one_that_cannot_be_read_lies_in_the_dead_letters(
    cloud: Cloud, deployed: Deployed, client: httpx.Client, group: int
) -> None:
    queues = cloud.client("sqs")
    queue = deployed.outputs["ImportQueueUrl"]
    unreadable = f"no customer of {group}"
    for body in (unreadable, json.dumps(customer_body(group))):
        queues.send_message(QueueUrl=queue, MessageBody=body)
    wait_until(lambda: client.get(group_path(group)).status_code == 200, SOON)
    dead_letters = _physical(cloud, "ImportDeadLetters")
    found: list[str] = []

    def lies_there() -> bool:
        messages = queues.receive_message(QueueUrl=dead_letters, WaitTimeSeconds=1).get("Messages", [])
        found.extend(message["Body"] for message in messages)
        return unreadable in found

    wait_until(lies_there, SOON)


def test_changes_are_told_on_the_bus(cloud: Cloud, deployed: Deployed, client: httpx.Client, group: int) -> None:
    events, queues = cloud.client("events"), cloud.client("sqs")
    queue = queues.create_queue(QueueName=f"changes-{group}")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = deployed.outputs["EventBusName"]
    events.put_rule(Name="changes", EventBusName=bus, EventPattern=json.dumps({"source": ["customers"]}))
    events.put_targets(Rule="changes", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    customer = create(client, group)
    assert client.delete(path_of(customer)).status_code == 200
    told: list[Any] = []

    def both_told() -> bool:
        for message in queues.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            event = json.loads(message["Body"])
            if event["detail"]["customer_id"] == customer["id"]:
                told.append(event["detail-type"])
            queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(told) >= 2

    wait_until(both_told, SOON)
    assert told == ["Customer created", "Customer deleted"]


def _physical(cloud: Cloud, name: str) -> str:
    """Return the name of a resource of the stack."""
    answer = cloud.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=name)
    return str(answer["StackResourceDetail"]["PhysicalResourceId"])
