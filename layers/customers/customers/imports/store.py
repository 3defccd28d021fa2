"""Imports in DynamoDB: one item per import, and one per finished chunk. Only this module knows their table.

A chunk's item and the import's counters are written in one transaction, so a chunk counts once, even if it is delivered
twice or its function dies.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import StoreUnavailableError
from customers.imports.files.rows import Break, Layout, Position
from customers.store.items import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.imports.bucket import FileDelivery

_TRIES: Final = 10
_LONGEST_PAUSE: Final = 2.0
_KEPT: Final = timedelta(days=30)
"""How long imports and their chunks are kept: longer than a message lives (14 days)."""


class Counts(NamedTuple):
    """Rows, counted by what became of them."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    already_there: int = 0
    superseded: int = 0
    rejected: int = 0


class Import(NamedTuple):
    """An import, as far as it has got."""

    import_id: str
    source: dict[str, str]
    """Where it comes from: `bucket` and `key` of a file, `message_id` of a message."""
    started_at: str
    """As in a customer's `created_at`."""
    position: Position | None
    """Where the chunks sent so far end; None if possibly none was sent."""
    sent: int
    """How many chunks were sent up to there."""
    planned: int | None
    """How many chunks it has; None while they are being cut."""
    broken: Break | None
    """Why it ends before its source does."""
    layout: Layout | None
    booked: int
    """How many chunks are finished."""
    counts: Counts
    told: int | None
    """How many chunks its report includes; None if it has no report yet."""

    @property
    def finished(self) -> bool:
        """Whether it has a report."""
        return self.told is not None


class ImportStore:
    """The table of imports.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def begin(self, import_id: str, source: Mapping[str, str], *, planned: int | None = None) -> Import:
        """Store a new import, or return the one that is there.

        Parameters
        ----------
        import_id
            Its identity.
        source
            As in Import.
        planned
            How many chunks it has, if known.
        """
        now = datetime.now(UTC)
        item: dict[str, AttributeValueTypeDef] = {
            **_key(import_id),
            "source": {"S": json.dumps(dict(source))},
            "started_at": {"S": timestamp(now)},
            "expires_at": _expiry(now),
        }
        if planned is not None:
            item["planned"] = {"N": str(planned)}
        try:
            call(
                lambda: self._client.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(import_id)"
                )
            )
        except ClientError as error:
            _check_refused(error)
            return self.get(import_id)
        return _import(item)

    def keep_latest(self, file: FileDelivery) -> None:
        """Store which import the latest upload of a key is, so that whoever put the file there finds it.

        Events may come in any order, and more than once. Of two uploads of a key, the later one has the greater
        sequencer: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        values: dict[str, AttributeValueTypeDef] = {
            "latest": {"S": file.import_id},
            "etag": {"S": file.etag},
            "sequencer": {"S": file.sequencer},
            "expires_at": _expiry(datetime.now(UTC)),
        }
        # S3 says to fill up the shorter one with zeros, which the order of strings amounts to.
        later = "attribute_not_exists(sequencer) OR sequencer <= :sequencer"
        self._set(_latest_key(file.bucket, file.key), values, later)

    def latest(self, bucket: str, key: str) -> tuple[str, str] | None:
        """Return the import and ETag of the latest upload of a key; None if there is none, or it ended a month ago."""
        where = _latest_key(bucket, key)
        answer = call(lambda: self._client.get_item(TableName=self._table, Key=where, ConsistentRead=True))
        item: Any = answer.get("Item")
        return (item["latest"]["S"], item["etag"]["S"]) if item else None

    def get(self, import_id: str) -> Import:
        """Read an import that is there, strongly consistent."""
        known = self.find(import_id)
        if known is None:
            raise KeyError(import_id)
        return known

    def find(self, import_id: str) -> Import | None:
        """Read an import, strongly consistent; None if there is none."""
        answer = call(lambda: self._client.get_item(TableName=self._table, Key=_key(import_id), ConsistentRead=True))
        return _import(answer["Item"]) if "Item" in answer else None

    def all(self) -> list[Import]:
        """Return all imports, the latest first. Reads the whole table: an item for each, and for each recent chunk."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            FilterExpression="chunk = :zero",
            ExpressionAttributeValues={":zero": {"N": "0"}},
        )
        items = call(lambda: [item for page in pages for item in page["Items"]])
        return sorted(map(_import, items), key=lambda one: one.started_at, reverse=True)

    def keep_position(self, known: Import, position: Position, sent: int) -> None:
        """Store where the chunks sent so far end, unless another planner got further."""
        self._set(
            _key(known.import_id),
            {"position": {"S": json.dumps(position)}, "sent": {"N": str(sent)}},
            # The same number again: the file has had no row since.
            "attribute_not_exists(planned) AND (attribute_not_exists(sent) OR sent <= :sent)",
        )

    def plan(self, known: Import, chunks: int, broken: Break | None) -> None:
        """Store how many chunks an import has, and why it ends early. The first call counts."""
        values: dict[str, AttributeValueTypeDef] = {"planned": {"N": str(chunks)}}
        if broken is not None:
            values["broken"] = {"S": json.dumps(broken)}
        self._set(_key(known.import_id), values, "attribute_not_exists(planned)")

    def is_booked(self, import_id: str, chunk: int) -> bool:
        """Whether a chunk is finished."""
        answer = call(
            lambda: self._client.get_item(TableName=self._table, Key=_key(import_id, chunk), ConsistentRead=True)
        )
        return "Item" in answer

    def book(self, import_id: str, chunk: int, layout: Layout, counts: Counts, part: str | None) -> None:
        """Count a chunk, once.

        Parameters
        ----------
        import_id, chunk
            The chunk; chunks are numbered from 1.
        layout
            The file's layout.
        counts
            What became of its rows.
        part
            The key of its rejected rows; None if it has none.
        """
        item: dict[str, AttributeValueTypeDef] = {**_key(import_id, chunk), "expires_at": _expiry(datetime.now(UTC))}
        if part is not None:
            item["part"] = {"S": part}
        put: Any = {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(import_id)",
        }
        update: Any = {
            "TableName": self._table,
            "Key": _key(import_id),
            "UpdateExpression": "SET layout = :layout "
            "ADD booked :one, " + ", ".join(f"{name} :{name}" for name in counts._fields),
            "ExpressionAttributeValues": {
                ":layout": {"S": json.dumps(layout)},
                ":one": {"N": "1"},
                **{f":{name}": {"N": str(number)} for name, number in counts._asdict().items()},
            },
        }
        self._write_once([{"Put": put}, {"Update": update}])

    def _write_once(self, writes: Any) -> None:  # noqa: ANN401 (a transaction's items)
        """Write a transaction, unless its condition shows that it was written before."""
        for tries in range(1, _TRIES + 1):
            try:
                call(lambda: self._client.transact_write_items(TransactItems=writes))
            except StoreUnavailableError:
                # Other chunks of the same import are booked at the same time. Those that lose try again.
                if tries == _TRIES:
                    raise
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.02 * 2**tries)))  # noqa: S311 (jitter)
            except ClientError as error:
                reasons: Any = error.response.get("CancellationReasons", [])
                if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                    raise
                return
            else:
                return

    def parts(self, import_id: str) -> Iterator[str]:
        """Yield the keys of an import's rejected rows, in order."""
        question: Any = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "import_id = :import_id AND chunk > :zero",
            "ExpressionAttributeValues": {":import_id": {"S": import_id}, ":zero": {"N": "0"}},
        }
        while question is not None:
            page = call(partial(self._client.query, **question))
            yield from (item["part"]["S"] for item in page["Items"] if "part" in item)
            last = page.get("LastEvaluatedKey")
            question = None if last is None else {**question, "ExclusiveStartKey": last}

    def finish(self, known: Import) -> None:
        """Store that an import has its report, and delete what the item quotes of the file."""
        values: dict[str, AttributeValueTypeDef] = {"finished": {"N": str(known.booked)}}
        if known.broken is not None:
            values["broken"] = {"S": json.dumps(known.broken.unquoting())}
        self._set(_key(known.import_id), values, "attribute_exists(import_id)")

    def _set(
        self, key: dict[str, AttributeValueTypeDef], values: dict[str, AttributeValueTypeDef], condition: str
    ) -> None:
        """Set an item's attributes, if a condition holds."""
        try:
            call(
                lambda: self._client.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                    ConditionExpression=condition,
                    ExpressionAttributeNames={f"#{name}": name for name in values},
                    ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                )
            )
        except ClientError as error:
            _check_refused(error)


def _key(import_id: str, chunk: int = 0) -> dict[str, AttributeValueTypeDef]:
    return {"import_id": {"S": import_id}, "chunk": {"N": str(chunk)}}


def _latest_key(bucket: str, key: str) -> dict[str, AttributeValueTypeDef]:
    return _key(f"latest {hashlib.sha256(f'{bucket} {key}'.encode()).hexdigest()}", -1)


def _expiry(now: datetime) -> AttributeValueTypeDef:
    return {"N": str(int((now + _KEPT).timestamp()))}


def _check_refused(error: ClientError) -> None:
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error


def _import(item: Mapping[str, Any]) -> Import:
    def number(name: str) -> int:
        return int(item.get(name, {"N": "0"})["N"])

    def value(name: str) -> Any:  # noqa: ANN401 (JSON may be anything)
        return json.loads(item[name]["S"]) if name in item else None

    position, layout, broken = value("position"), value("layout"), value("broken")
    return Import(
        import_id=item["import_id"]["S"],
        source=value("source"),
        started_at=item["started_at"]["S"],
        position=position and Position(Layout.of_json(position[0]), *position[1:]),
        sent=number("sent"),
        planned=number("planned") if "planned" in item else None,
        broken=broken and Break(*broken),
        layout=layout and Layout.of_json(layout),
        booked=number("booked"),
        counts=Counts(*map(number, Counts._fields)),
        told=number("finished") if "finished" in item else None,
    )
