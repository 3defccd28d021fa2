"""Does what each message's body says, and puts what it received into the journal."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import boto3

GREETING = "hello"

# Here, and not within the short time that a message has.
s3, sqs, events = boto3.client("s3"), boto3.client("sqs"), boto3.client("events")


def lambda_handler(event: dict[str, Any], _context: object) -> object:
    """Handle a batch of messages, or a request."""
    if "httpMethod" in event:
        return {"statusCode": 200, "body": json.dumps(dict(os.environ))}
    records = event["Records"]
    if "dynamodb" in records[0]:
        return follow(records)
    for record in records:
        record["told"] = json.loads(record["body"])
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    note(function=name, greeting=GREETING, records=records, start=time.time())
    failed = [record["messageId"] for record in records if do(record["told"])]
    note(function=name, ended=[record["messageId"] for record in records], end=time.time())
    if failed and os.environ["AWS_LAMBDA_FUNCTION_NAME"] != "Partial":
        raise ValueError("as told")
    if any(record["told"].get("do") == "misreport" for record in records):
        return {"batchItemFailures": [{"itemIdentifier": "nobody"}]}
    return {"batchItemFailures": [{"itemIdentifier": failure} for failure in failed]}


def follow(records: list[dict[str, Any]]) -> object:
    """Handle changes: those of a bad thing fail."""
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    note(function=name, changes=records)
    bad = [record for record in records if record["dynamodb"]["Keys"]["id"]["S"].startswith("bad")]
    if bad and name == "Halve":
        raise ValueError("bad")
    return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]} for record in bad]}


def do(told: dict[str, Any]) -> bool:
    """Do what a message says, and say whether it failed."""
    match told.get("do"):
        case "fail":
            return True
        case "hang":
            time.sleep(60)
        case "meet":
            folder = Path(told["folder"])
            (folder / str(os.getpid())).touch()
            while len(list(folder.iterdir())) < told["number"]:
                time.sleep(0.01)
            # Long enough for one more to come, if more are allowed.
            time.sleep(0.3)
        case "announce":
            for kind in ("wanted", "unwanted"):
                events.put_events(
                    Entries=[{"Source": "test", "DetailType": kind, "Detail": "{}", "EventBusName": os.environ["BUS"]}]
                )
    for record in told.get("Records", []):
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        content = s3.get_object(Bucket=bucket, Key=key)["Body"]
        size = sum(len(chunk) for chunk in content.iter_chunks(1 << 16))
        note(event=record["eventName"], key=key, size=size)
        report = f"reports/{key.removeprefix('imports/')}/summary.json"
        s3.put_object(Bucket=bucket, Key=report, Body=json.dumps({"size": size}))
    return False


def note(**what: object) -> None:
    """Put something into the journal."""
    sqs.send_message(QueueUrl=os.environ["JOURNAL"], MessageBody=json.dumps(what))
