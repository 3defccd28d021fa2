"""What DynamoDB refuses and the local engine accepts, refused here too, so that no code comes to rely on it.

Through the fixture `_limits_of_aws` in `conftest.py`, every client in the tests' own process is checked by this.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import functools
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.httpsession import URLLib3Session
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from tests.sending import dynamodb_call, error_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

type Parameters = Mapping[str, Any]
type Values = Mapping[str, Mapping[str, Any]]

MAX_SORT_KEY: Final = 1024
MAX_PARTITION_KEY: Final = 2048
"""Bytes, for an index too."""
MAX_OPERANDS: Final = 100
"""Of `IN`."""
_SORT_CONDITIONS: Final = re.compile(r"begins_with\s*\(\s*(#?\w+)\s*,\s*(:\w+)\s*\)", re.IGNORECASE)
_EQUAL: Final = re.compile(r"(?<![\w#.])(#?\w+)\s*=\s*(:\w+)")
_IN: Final = re.compile(r"\bIN\s*\(([^)]*)\)", re.IGNORECASE)
_INSERTED: Final = re.compile(r"'(\w+)'\s*:\s*\?")


@contextmanager
def limits_of_aws() -> Iterator[None]:
    """Refuse what DynamoDB refuses, in this process, until the block ends."""
    send = URLLib3Session.send

    @functools.wraps(send)
    def checked(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        if asked := dynamodb_call(request):
            for message in refusals(*asked):
                return error_answer("ValidationException", message=message)(request)
        return send(session, request)

    # Here all calls meet: not all go through botocore's clients.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", checked)
        yield


@functools.cache
def key_sizes() -> dict[str, int]:
    """Return the key attributes of the template's tables and indexes, and how many bytes each may have."""
    limits = {"HASH": MAX_PARTITION_KEY, "RANGE": MAX_SORT_KEY}
    template = yaml_parse((Path(__file__).parent.parent / "template.yaml").read_text(encoding="utf-8"))
    tables = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::DynamoDB::Table"]
    schemas = [part["KeySchema"] for table in tables for part in (table, *table.get("GlobalSecondaryIndexes", []))]
    return {key["AttributeName"]: limits[key["KeyType"]] for schema in schemas for key in schema}


def refusals(operation: str, parameters: Parameters) -> Iterator[str]:
    """Say what DynamoDB refuses in a call."""
    for part in _parts(operation, parameters):
        expressions = [text for name, text in part.items() if name.endswith("Expression")]
        if any(operands.count(",") >= MAX_OPERANDS for text in expressions for operands in _IN.findall(text)):
            yield f"Invalid expression: the IN operator has more than {MAX_OPERANDS} operands"
        written = _written(part)
        for name, size in key_sizes().items():
            if len(str(written.get(name, {}).get("S", "")).encode(errors="replace")) > size:
                yield f"One or more parameter values were invalid: the size of the key {name} exceeds {size} bytes"
    if operation == "Query" and "ExclusiveStartKey" in parameters:
        yield from _start(parameters)
    if operation == "UpdateTable":
        changes = [change for change in parameters.get("GlobalSecondaryIndexUpdates", []) if "Update" not in change]
        if len(changes) > 1:
            yield "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"


def _parts(operation: str, parameters: Parameters) -> Iterable[Parameters]:
    if operation == "TransactWriteItems":
        return [part for item in parameters["TransactItems"] for part in item.values()]
    if operation == "BatchExecuteStatement":
        return [_inserted(statement) for statement in parameters["Statements"]]
    return [parameters]


def _inserted(statement: Parameters) -> Parameters:
    """Return a PartiQL INSERT as if it were a PutItem."""
    text = statement["Statement"]
    names = _INSERTED.findall(text)
    table = re.search(r'INTO\s+"([^"]+)"', text)
    assert table is not None, text
    assert len(names) == len(statement["Parameters"]), text
    return {"TableName": table[1], "Item": dict(zip(names, statement["Parameters"], strict=True))}


def _written(part: Parameters) -> Values:
    """Return the attributes that a write sets to a value."""
    if "Item" in part:
        item: Values = part["Item"]
        return item
    names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
    set_ = re.search(r"\bSET\b(.*?)(?:\b(?:REMOVE|ADD|DELETE)\b|$)", part.get("UpdateExpression", ""), re.DOTALL)
    return {names.get(name, name): values[value] for name, value in _EQUAL.findall(set_[1])} if set_ else {}


def _start(parameters: Parameters) -> Iterator[str]:
    """Say whether a page starts where none of its query can."""
    start, condition = parameters["ExclusiveStartKey"], parameters["KeyConditionExpression"]
    names, values = parameters.get("ExpressionAttributeNames", {}), parameters["ExpressionAttributeValues"]
    for name, value in _EQUAL.findall(condition):
        if start.get(names.get(name, name)) != values[value]:
            yield "The provided starting key is invalid"
    for name, value in _SORT_CONDITIONS.findall(condition):
        if not start[names.get(name, name)]["S"].startswith(values[value]["S"]):
            yield "The provided starting key is outside query boundaries based on provided conditions"
