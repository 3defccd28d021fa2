"""The table of history: who changed a customer, when, and what.

An entry's key is the customer's id and the version that the change made. A deletion removes the entries before it, and
stays itself at version 0, without personal data. It says up to which version the customer is erased, so that batches
of the stream that arrive late or twice cannot put an entry back.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.fields import FIELDS
from customers.store.items import Change, number, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.store.items import Item

INDEX: Final = "by-token"
"""The index of the changes that a token made, in the order of their times."""
MOST_IN_A_STEP: Final = 50
"""Entries in one transaction, each with a check: together its limit of 100."""
_MOST_REMOVED: Final = 100
_DELETIONS_KEPT: Final = timedelta(days=36)
"""At least: longer than any backup, so that a restore knows whom to leave out (docs/operations.md)."""
# A tombstone lives for 30 days, and the stream for one. So an entry that is this much younger than a deletion belongs
# to a later customer with the same external id, whose versions may start anew.
_ANOTHER_LIFE: Final = timedelta(days=7)
_BEFORE: Final[Mapping[str, object]] = {field.name: {} if field.kind == "dict" else None for field in FIELDS}
"""Of a customer that is created."""


class Entry(NamedTuple):
    """A change of a customer."""

    customer_id: int
    version: int
    """That the change made."""
    at: str
    """As in `updated_at`."""
    action: Literal["created", "updated", "deleted"]
    author: Item
    """As `Author.attribute` returns it."""
    changes: Mapping[str, Mapping[str, object]]
    """By field, what it was changed `from` and `to`. Empty for a deletion."""


def entry_of(record: Mapping[str, Any]) -> Entry | None:
    """Read a record of the stream of the customers' table; None if clients can see no change."""
    change = Change.of_record(record)
    if change.kind is None:
        return None
    before: Mapping[str, Any] = change.before or _BEFORE
    after: Mapping[str, Any] = change.after or {}
    changes = {
        field.name: {"from": before[field.name], "to": after[field.name]}
        for field in FIELDS
        if after and before[field.name] != after[field.name]
    }
    customer_id = int(record["dynamodb"]["Keys"]["id"]["N"])
    image = record["dynamodb"].get("NewImage")
    if image is None:
        # Someone has removed the item itself, past the service. It is a deletion all the same.
        at = timestamp(datetime.fromtimestamp(record["dynamodb"]["ApproximateCreationDateTime"], UTC))
        return Entry(customer_id, change.version + 1, at, change.kind, {}, changes)
    at = image["updated_at" if after else "deleted_at"]["S"]
    return Entry(customer_id, change.version, at, change.kind, image.get("author", {"M": {}})["M"], changes)


def steps(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Divide entries, in their order, into those that are written together: a deletion alone, a customer once."""
    step: list[Entry] = []
    for entry in entries:
        alone = entry.action == "deleted" or any(other.action == "deleted" for other in step)
        if step and (
            alone or len(step) == MOST_IN_A_STEP or any(other.customer_id == entry.customer_id for other in step)
        ):
            yield step
            step = []
        step.append(entry)
    if step:
        yield step


class HistoryPage(NamedTuple):
    """Some entries, as clients see them."""

    entries: list[dict[str, Any]]
    next_position: str | None
    """Where the next page starts; None on the last page."""


class HistoryStore:
    """The table of history.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def keep(self, step: Sequence[Entry], days: int) -> None:
        """Write the entries of a step, unless their customers are erased. A repetition changes nothing.

        Parameters
        ----------
        step
            From `steps`.
        days
            How long to keep them.
        """
        if step[0].action == "deleted":
            self._erase(step[0], days)
            return
        waiting = list(step)
        while waiting:
            writes = [write for entry in waiting for write in (self._check(entry), self._put(entry, days))]
            refused = self._transact(writes)
            if not refused:
                return
            waiting = [entry for index, entry in enumerate(waiting) if 2 * index not in refused]

    def newest_first(self, customer_id: int, *, limit: int, after: str | None) -> HistoryPage:
        """Read a page of a customer's history, eventually consistent, in one Query.

        Parameters
        ----------
        customer_id
            The customer.
        limit
            The most entries to return.
        after
            `next_position` of the previous page; None for the first page.
        """
        start: Any = {} if after is None else {"ExclusiveStartKey": _key(customer_id, int(after))}
        answer = call(
            lambda: self._client.query(
                TableName=self._table,
                KeyConditionExpression="customer_id = :id",
                ExpressionAttributeValues={":id": number(customer_id)},
                ScanIndexForward=False,
                Limit=limit + 1,
                **start,
            )
        )
        items = answer["Items"]
        more = "LastEvaluatedKey" in answer or len(items) > limit
        # DynamoDB removes what has expired only after a while.
        shown = [item for item in items[:limit] if int(item["expires_at"]["N"]) > time.time()]
        return HistoryPage(list(map(_shown, shown)), items[:limit][-1]["version"]["N"] if more else None)

    def made_by(self, token_id: str, since: str) -> Iterator[dict[str, Any]]:
        """Return the changes that a token made since a time, the oldest first, eventually consistent.

        Parameters
        ----------
        token_id
            The token.
        since
            As in `at`; empty for all.
        """
        start: Any = {}
        while True:
            query = partial(
                self._client.query,
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="token_id = :token AND changed_at >= :since",
                # A key must not be empty, and no time is before this one.
                ExpressionAttributeValues={":token": {"S": token_id}, ":since": {"S": since or "0"}},
                **start,
            )
            answer = call(query)
            for item in answer["Items"]:
                version = int(item.get("erased_to", item["version"])["N"])
                change = {"customer_id": int(item["customer_id"]["N"]), "version": version}
                yield {**change, "at": item["changed_at"]["S"], "action": item["action"]["S"]}
            if "LastEvaluatedKey" not in answer:
                return
            start["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _check(self, entry: Entry) -> dict[str, Any]:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _key(entry.customer_id, 0),
                "ConditionExpression": "attribute_not_exists(erased_to) OR erased_to < :version OR changed_at < :then",
                "ExpressionAttributeValues": {":version": number(entry.version), ":then": {"S": _another_life(entry)}},
            }
        }

    def _put(self, entry: Entry, days: int) -> dict[str, Any]:
        item = {
            **_key(entry.customer_id, entry.version),
            **_attributes(entry, days),
            # As text: nothing looks into it, and it takes the least room.
            "changes": {"S": json.dumps(entry.changes, ensure_ascii=False, separators=(",", ":"))},
        }
        return {"Put": {"TableName": self._table, "Item": item}}

    def _erase(self, entry: Entry, days: int) -> None:
        """Write a deletion, and remove what is before it; nothing if a later deletion has done so."""
        attributes = _attributes(entry, max(days, _DELETIONS_KEPT.days))
        deletion = {**_key(entry.customer_id, 0), **attributes, "erased_to": number(entry.version)}
        put = {
            "TableName": self._table,
            "Item": deletion,
            # Up to the same version: an earlier try may have ended before everything was removed.
            "ConditionExpression": "attribute_not_exists(erased_to) OR erased_to <= :version OR changed_at < :then",
            "ExpressionAttributeValues": {":version": number(entry.version), ":then": {"S": _another_life(entry)}},
        }
        if self._transact([{"Put": put}]):
            return
        while older := self._older(entry):
            self._transact([{"Delete": {"TableName": self._table, "Key": key}} for key in older])

    def _older(self, entry: Entry) -> Sequence[Item]:
        """Return the keys of up to 100 entries before a deletion, strongly consistent."""
        answer = call(
            lambda: self._client.query(
                TableName=self._table,
                KeyConditionExpression="customer_id = :id AND #version BETWEEN :one AND :last",
                ProjectionExpression="customer_id, #version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={
                    ":id": number(entry.customer_id),
                    ":one": number(1),
                    ":last": number(entry.version - 1),
                },
                ConsistentRead=True,
                Limit=_MOST_REMOVED,
            )
        )
        return answer["Items"]

    def _transact(self, writes: Any) -> set[int]:  # noqa: ANN401 (the items of transact_write_items)
        """Write all or nothing; return the indexes of the conditions that refused it. None: it is written."""
        try:
            call(lambda: self._client.transact_write_items(TransactItems=writes))
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons", [])
            refused = {index for index, reason in enumerate(reasons) if reason.get("Code") == "ConditionalCheckFailed"}
            if not refused:
                raise
            return refused
        return set()


def _key(customer_id: int, version: int) -> dict[str, AttributeValueTypeDef]:
    return {"customer_id": number(customer_id), "version": number(version)}


def _attributes(entry: Entry, days: int) -> dict[str, AttributeValueTypeDef]:
    expiry = datetime.fromisoformat(entry.at) + timedelta(days=days)
    attributes: dict[str, AttributeValueTypeDef] = {
        "changed_at": {"S": entry.at},
        "action": {"S": entry.action},
        "author": {"M": entry.author},
        "expires_at": number(int(expiry.timestamp())),
    }
    if "token_id" in entry.author:
        attributes["token_id"] = entry.author["token_id"]
    return attributes


def _another_life(entry: Entry) -> str:
    return timestamp(datetime.fromisoformat(entry.at) - _ANOTHER_LIFE)


def _shown(item: Item) -> dict[str, Any]:
    """Return an entry as clients see it."""
    author: Any = item["author"]["M"]
    by: dict[str, object] = {name: author[name]["S"] for name in ("token_id", "import_id") if name in author}
    if "row" in author:
        by["row"] = int(author["row"]["N"])
    return {
        "version": int(item.get("erased_to", item["version"])["N"]),
        "at": item["changed_at"]["S"],
        "action": item["action"]["S"],
        "by": by,
        "request_id": author.get("request_id", {}).get("S"),
        "changes": json.loads(item["changes"]["S"]) if "changes" in item else {},
    }
