"""Customers in DynamoDB. The only module that knows the table: its attributes, indexes and conditions.

Every write carries a write token. The SDK repeats a call whose answer was lost, and a repeated conditional write meets
its own first attempt: it then finds its own token, and knows that it succeeded. A request with a name has a token and
ids derived from it, so that the same holds when the function died and the client repeats the request.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from datetime import UTC, datetime
from functools import cache
from itertools import batched
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from customers import sorting
from customers.customer import MAX_ID, Customer
from customers.dynamodb import unavailability
from customers.errors import KeyReusedError, NotFoundError, StoreUnavailableError, VersionMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, BatchStatementRequestTypeDef

    from customers.customer import SortField
    from customers.model import Changes, NewCustomer

_STATEMENTS: Final = 25
"""In one BatchExecuteStatement, its limit."""
_KEYS: Final = 100
"""In one BatchGetItem, its limit."""
_TRIES: Final = 16
"""Of what the table refuses for now, before it is unavailable: with the client's own, half a minute to three."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds. In the worker's five minutes a chunk gets in even if of each batch there is room for four rows."""
_REFUSED_FOR_NOW: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)
"""Why a statement of a batch may fail, and succeed later.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
"""

type Item = Mapping[str, AttributeValueTypeDef]


class _Order(NamedTuple):
    name: str
    key: str


_ORDERS: Final[dict[SortField, _Order]] = {
    "id": _Order("group-index", "id"),
    "first_name": _Order("group-by-first-name", "first_name_sort"),
    "last_name": _Order("group-by-last-name", "last_name_sort"),
    "email": _Order("group-by-email", "email_sort"),
    "age": _Order("group-by-age", "age_sort"),
    "created_at": _Order("group-by-created-at", "created_at_sort"),
}


class RequestName(NamedTuple):
    """What a request that may come again is known by. Who repeats it, repeats its ids, and meets its own rows."""

    name: str
    """What identifies it, and no other request at any time: ids are never reused."""
    payload: str
    """Digest of what it asks for."""

    def id(self, index: int, draw: int) -> int:
        """Derive a customer's id.

        Parameters
        ----------
        index
            Which customer of the request.
        draw
            How many ids before this one turned out to be taken by others.
        """
        digest = hashlib.sha256(f"{self.name} {index} {draw}".encode()).digest()
        return int.from_bytes(digest[:16]) % MAX_ID + 1


class Change(NamedTuple):
    """One change of the table: a customer as it was before, None at its creation, and after, None at its deletion."""

    before: Customer | None
    after: Customer | None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Change:
        """Read a record of the table's stream, which has both images.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
        """
        before, after = (record["dynamodb"].get(image) for image in ("OldImage", "NewImage"))
        return cls(before and _customer(before), after and _customer(after))


class Page(NamedTuple):
    """A part of a group, in order."""

    customers: list[Customer]
    next_position: str | None
    """Where the next page starts; None when this one is the last."""


class CustomerStore:
    """The table of customers.

    Each method raises StoreUnavailableError when the table refuses or does not answer in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, customer_id: int) -> Customer:
        """Read one customer, strongly consistent.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with unavailability():
            answer = self._client.get_item(TableName=self._table, Key=_key(customer_id), ConsistentRead=True)
        if "Item" not in answer:
            raise _no_customer()
        return _customer(answer["Item"])

    def create(self, new: Sequence[NewCustomer], request: RequestName | None = None) -> list[Customer]:
        """Write new customers, all or none, and give them in the same order.

        Parameters
        ----------
        new
            At least one, at most 100, the limit of a transaction.
        request
            Names the request when it may come again, after any failure: then it gets the same customers, as they are
            by now, and none is written twice. None: it has no name, and each call writes.

        Raises
        ------
        KeyReusedError
            A request of that name came before, and asked for something else.
        """
        token = _new_write_token() if request is None else f"{request.name}:{request.payload}"
        now = _now()
        rows: dict[int, Item] = {}
        draws = dict.fromkeys(range(len(new)), 0)
        while draws:
            items = [
                _new_item(new[index], _new_id() if request is None else request.id(index, draw), now, token)
                for index, draw in draws.items()
            ]
            refusals = self._insert(items)
            if all(met is None for met in refusals):
                rows |= zip(draws, items, strict=True)
                break
            for index, met in zip(list(draws), refusals, strict=True):
                if met is None:
                    continue
                met_token = met["create_token"]["S"]
                if met_token == token:
                    # Its own row: an answer was lost, or the request came before and died after this.
                    rows[index] = met
                    del draws[index]
                elif request is not None and met_token.startswith(f"{request.name}:"):
                    raise KeyReusedError
                else:
                    draws[index] += 1
        return [_customer(rows[index]) for index in range(len(new))]

    def insert_each(self, request: RequestName, rows: Mapping[int, NewCustomer], since: str) -> dict[int, bool]:
        """Insert the rows of an import, each on its own, at the price of plain writes.

        Parameters
        ----------
        request
            Names the import. Who repeats it meets its own rows, and writes none twice.
        rows
            The customers by their index in the import.
        since
            When the import started, as in `created_at`.

        Returns
        -------
        dict[int, bool]
            For each index whether the import created the row, be it at an earlier try; False: it was there before.
        """
        now = _now()
        outcomes: dict[int, bool] = {}
        draws = dict.fromkeys(rows, 0)
        pace = _Pace()
        while draws:
            met: dict[int, int] = {}
            ids = {index: request.id(index, draw) for index, draw in draws.items()}
            # All of them first: the processor is quicker at one thing at a time than between two waits for the table.
            inserts = {
                index: self._insertion(_new_item(rows[index], ids[index], now, _row_token(request, index)))
                for index in draws
            }
            for indexes in batched(inserts, _STATEMENTS, strict=False):
                pace.wait()
                refused = 0
                for index, error in zip(indexes, self._insert_batch([inserts[i] for i in indexes]), strict=True):
                    if error is None:
                        outcomes[index] = True
                        del draws[index]
                    elif error == "DuplicateItem":
                        met[index] = ids[index]
                    else:
                        refused += 1
                pace.note(refused, len(indexes))
            there = self._create_tokens(list(met.values()))
            for index, customer_id in met.items():
                # A row that is gone by now was deleted in between: its id is drawn again, as if it had never been met.
                token, created_at = there.get(customer_id, ("", ""))
                if token == _row_token(request, index):
                    outcomes[index] = created_at >= since
                    del draws[index]
                elif token:
                    draws[index] += 1
        return outcomes

    def created_by(self, request: RequestName, indexes: Sequence[int]) -> set[int]:
        """Tell which rows of an import are there."""
        ids = {index: request.id(index, 0) for index in indexes}
        there = self._create_tokens(list(ids.values()))
        return {
            index
            for index, customer_id in ids.items()
            if there.get(customer_id, ("",))[0] == _row_token(request, index)
        }

    def _insertion(self, item: dict[str, AttributeValueTypeDef]) -> BatchStatementRequestTypeDef:
        """Give the statement that inserts a row where there is none."""
        return {"Statement": _insert_statement(self._table, tuple(item)), "Parameters": list(item.values())}

    def _insert_batch(self, statements: Sequence[BatchStatementRequestTypeDef]) -> list[str | None]:
        """Insert up to 25 rows; give for each the code of its error, None if it is inserted."""
        try:
            with unavailability():
                answer = self._client.batch_execute_statement(Statements=statements)
        except StoreUnavailableError:
            return ["ThrottlingError"] * len(statements)
        codes: list[str | None] = [response.get("Error", {}).get("Code") for response in answer["Responses"]]
        if unforeseen := set(codes) - _REFUSED_FOR_NOW - {None, "DuplicateItem"}:
            raise RuntimeError(f"the table refused a row: {', '.join(map(str, unforeseen))}")
        return codes

    def _create_tokens(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Give `create_token` and `created_at` of those rows that are there, strongly consistent."""
        found: dict[int, tuple[str, str]] = {}
        for some in batched(ids, _KEYS, strict=False):
            wanted: Any = {
                self._table: {
                    "Keys": [_key(customer_id) for customer_id in some],
                    "ConsistentRead": True,
                    "ProjectionExpression": "id, create_token, created_at",
                }
            }
            tries = 0
            while wanted:
                with unavailability():
                    answer = self._client.batch_get_item(RequestItems=wanted)
                for item in answer["Responses"].get(self._table, []):
                    found[int(item["id"]["N"])] = (item["create_token"]["S"], item["created_at"]["S"])
                wanted = answer.get("UnprocessedKeys")
                if wanted:
                    tries += 1
                    if tries == _TRIES:
                        raise StoreUnavailableError
                    _wait(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries))
        return found

    def _insert(self, items: list[dict[str, AttributeValueTypeDef]]) -> Sequence[Item | None]:
        """Insert all or none. Gives for each the row that it met in its place; None for all: they are inserted."""
        puts: list[Any] = [
            {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(id)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            for item in items
        ]
        try:
            with unavailability():
                if len(puts) == 1:
                    self._client.put_item(**puts[0])
                else:
                    self._client.transact_write_items(TransactItems=[{"Put": put} for put in puts])
        except ClientError as error:
            return [_refused_item(error)] if len(puts) == 1 else _cancelled_items(error)
        return [None] * len(items)

    def update(self, customer_id: int, changes: Changes, versions: Sequence[int] | None) -> Customer:
        """Change the given fields of a customer, whole, in one conditional write, and give the customer as it is then.

        Parameters
        ----------
        customer_id
            Whose.
        changes
            At least one field. An `age` of None clears it.
        versions
            The versions at which the change may take place, at most 90; None for any.

        Raises
        ------
        NotFoundError
            There is none.
        VersionMismatchError
            It is at another version.
        """
        token = _new_write_token()
        now = _now()
        fields = {**_attributes(changes), **_sort_texts(changes, customer_id)}
        fields |= {"updated_at": {"S": now}, "write_token": {"S": token}}
        cleared = ["age"] if "age" in changes and changes["age"] is None else []
        update = "SET #version = #version + :one, " + ", ".join(f"#{name} = :{name}" for name in fields)
        if cleared:
            update += " REMOVE #age"
        condition, condition_values = _at(versions)
        try:
            with unavailability():
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_key(customer_id),
                    UpdateExpression=update,
                    # The token keeps the SDK's own repetition from being applied a second time.
                    ConditionExpression=f"{condition} AND #write_token <> :write_token",
                    ExpressionAttributeNames={f"#{name}": name for name in [*fields, *cleared, "version"]},
                    ExpressionAttributeValues={
                        **{f":{name}": value for name, value in fields.items()},
                        **condition_values,
                        ":one": {"N": "1"},
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as error:
            current = _refused_item(error)
            if current.get("write_token") != {"S": token}:
                raise _refusal(current) from None
            return _customer(current)
        return _customer(answer["Attributes"])

    def delete(self, customer_id: int, versions: Sequence[int] | None) -> None:
        """Delete a customer.

        Parameters
        ----------
        customer_id
            Whose.
        versions
            The versions at which it may be deleted, at most 90; None for any.

        Raises
        ------
        NotFoundError
            There is none.
        VersionMismatchError
            It is at another version.
        """
        condition, condition_values = _at(versions)
        values: Any = {"ExpressionAttributeValues": condition_values} if condition_values else {}
        names: Any = {"ExpressionAttributeNames": {"#version": "version"}} if condition_values else {}
        try:
            with unavailability():
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key(customer_id),
                    ConditionExpression=condition,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **names,
                    **values,
                )
        except ClientError as error:
            current = _refused_item(error)
            # Gone at a repetition by the SDK: the first attempt, whose answer was lost, has deleted it.
            if current or not error.response["ResponseMetadata"].get("RetryAttempts"):
                raise _refusal(current) from None

    def page(self, group_id: int, sort: SortField, *, descending: bool, limit: int, after: str | None) -> Page:
        """Read one page of a group, eventually consistent, in one Query.

        Parameters
        ----------
        group_id
            Whose.
        sort
            The field to sort by.
        descending
            Whether in the reversed order.
        limit
            The most customers to give.
        after
            `next_position` of the page before; None for the first page.
        """
        order = _ORDERS[sort]
        start: Any = {}
        if after is not None:
            position: AttributeValueTypeDef = {"N": after} if sort == "id" else {"S": after}
            customer_id = int(after) if sort == "id" else sorting.id_of(after)
            start["ExclusiveStartKey"] = {"group_id": _number(group_id), **_key(customer_id), order.key: position}
        with unavailability():
            answer = self._client.query(
                TableName=self._table,
                IndexName=order.name,
                KeyConditionExpression="group_id = :group_id",
                ExpressionAttributeValues={":group_id": _number(group_id)},
                ScanIndexForward=not descending,
                # One more than asked for tells whether there is a next page, without a second call.
                Limit=limit + 1,
                **start,
            )
        items = answer["Items"][:limit]
        # The second case: a page of very long rows ends where DynamoDB ends it, at 1 MB.
        more = len(answer["Items"]) > limit or "LastEvaluatedKey" in answer
        last = items[-1][order.key] if more and items else None
        return Page([_customer(item) for item in items], None if last is None else last.get("S") or last["N"])


@cache
def _insert_statement(table: str, attributes: tuple[str, ...]) -> str:
    return f'INSERT INTO "{table}" VALUE {{{", ".join(f"'{name}': ?" for name in attributes)}}}'


def _row_token(request: RequestName, index: int) -> str:
    return f"{request.name}:{index}"


class _Pace:
    """The pace of an import. Whatever the table takes is a reason to go on, as fast as it allows."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._in_vain = 0

    def note(self, refused: int, tried: int) -> None:
        """Slow down after a batch of which most was refused for now, and speed up after one of which nothing was.

        A try that the table refuses is lost work, for it and for whoever else asks it. Where half of a batch is let in,
        a row is tried twice.

        Raises
        ------
        StoreUnavailableError
            All of a batch was refused, often enough, one time after the other.
        """
        self._in_vain = self._in_vain + 1 if refused == tried else 0
        if self._in_vain == _TRIES:
            raise StoreUnavailableError
        if refused * 2 > tried:
            self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._pause * 2))
        elif not refused:
            self._pause = self._pause / 2 if self._pause > _FIRST_PAUSE else 0.0

    def wait(self) -> None:
        """Wait before the next batch."""
        if self._pause:
            _wait(self._pause)


def _wait(longest: float) -> None:
    time.sleep(random.uniform(0, longest))  # noqa: S311 (jitter)


def _new_id() -> int:
    return secrets.randbelow(MAX_ID) + 1


def _new_write_token() -> str:
    return secrets.token_urlsafe(12)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: int) -> AttributeValueTypeDef:
    return {"N": str(value)}


def _key(customer_id: int) -> dict[str, AttributeValueTypeDef]:
    return {"id": _number(customer_id)}


def _attributes(fields: NewCustomer | Changes) -> dict[str, AttributeValueTypeDef]:
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)}
        for name, value in fields.items()
        if value is not None
    }


def _sort_texts(fields: NewCustomer | Changes, customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Give the sort texts of the given fields. Each depends on its own field alone, so that an update needs no read."""
    texts: dict[str, AttributeValueTypeDef] = {}
    for name in ("first_name", "last_name", "email"):
        if name in fields:
            texts[f"{name}_sort"] = {"S": sorting.by_text(fields[name], customer_id)}
    if "age" in fields:
        texts["age_sort"] = {"S": sorting.by_age(fields["age"], customer_id)}
    return texts


def _new_item(new: NewCustomer, customer_id: int, now: str, token: str) -> dict[str, AttributeValueTypeDef]:
    return {
        **_key(customer_id),
        **_attributes(new),
        **_sort_texts({"age": None, **new}, customer_id),
        "created_at": {"S": now},
        "created_at_sort": {"S": sorting.by_time(now, customer_id)},
        "updated_at": {"S": now},
        "version": {"N": "1"},
        "create_token": {"S": token},
        "write_token": {"S": token},
    }


def _customer(item: Item) -> Customer:
    age = item.get("age")
    return {
        "id": int(item["id"]["N"]),
        "first_name": item["first_name"]["S"],
        "last_name": item["last_name"]["S"],
        "email": item["email"]["S"],
        "group_id": int(item["group_id"]["N"]),
        "age": None if age is None else int(age["N"]),
        "created_at": item["created_at"]["S"],
        "updated_at": item["updated_at"]["S"],
        "version": int(item["version"]["N"]),
    }


def _at(versions: Sequence[int] | None) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Give the condition that a customer is there, at one of the versions, and the condition's values."""
    if versions is None:
        return "attribute_exists(id)", {}
    # No version is 0: an empty list matches nothing, and the refusal still shows the current version.
    values = {f":v{index}": _number(version) for index, version in enumerate(versions or [0])}
    return f"attribute_exists(id) AND #version IN ({', '.join(values)})", values


def _refused_item(error: ClientError) -> Item:
    """Give the row that a condition refused, empty when there is none.

    Raises
    ------
    ClientError
        The error is no such refusal.
    """
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: Item = error.response.get("Item", {})  # type: ignore[assignment]  # botocore-stubs leave it out
    return item


def _cancelled_items(error: ClientError) -> list[Item | None]:
    """Give for each write of a transaction the row that its condition refused; None where it did not.

    Raises
    ------
    ClientError
        The error is no such refusal.
    """
    reasons: Any = error.response.get("CancellationReasons", [])
    if not any(reason["Code"] == "ConditionalCheckFailed" for reason in reasons):
        raise error
    return [reason.get("Item") for reason in reasons]


def _refusal(current: Item) -> NotFoundError | VersionMismatchError:
    if not current:
        return _no_customer()
    return VersionMismatchError(int(current["version"]["N"]))


def _no_customer() -> NotFoundError:
    return NotFoundError("There is no such customer.")
