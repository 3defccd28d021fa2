"""The table of customers: one customer at a time, or all of a request together.

A write that may have been carried out is never sent again, because others may have written since. Creations and changes
store a token that names them. If the response is lost, the store looks for the token in the row, and so knows that the
write was applied (docs/decisions/0014).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import KeyReusedError, NotFoundError, OutcomeUnknownError, VersionMismatchError
from customers.ids import MAX_ID
from customers.store.items import ORDERS, attributes, customer, key, key_attributes, new_item, now, number
from customers.store.sorting import id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Changes, Customer, NewCustomer
    from customers.store.identity import RequestName
    from customers.store.items import Item


class Page(NamedTuple):
    """A part of a group, in order."""

    customers: list[Customer]
    next_position: str | None
    """Where the next page starts; None on the last page."""


class CustomerStore:
    """The table of customers.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time, and each write
    OutcomeUnknownError if it may have been applied and the row does not show it.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, customer_id: int) -> Customer:
        """Read a customer, strongly consistent.

        Raises
        ------
        NotFoundError
            There is no such customer.
        """
        item = self._item(customer_id)
        if item is None:
            raise _no_customer()
        return customer(item)

    def create(self, new: Sequence[NewCustomer], request: RequestName | None = None) -> list[Customer]:
        """Create customers, all or none, and return them in the same order.

        Parameters
        ----------
        new
            At least one, at most 100, the limit of a transaction.
        request
            Identifies a request that may be repeated after any failure. The repetition gets the same customers, in
            their current state, and none is created twice. None: each call creates.

        Raises
        ------
        KeyReusedError
            An earlier request with this name asked for something else.
        """
        token = secrets.token_urlsafe(12) if request is None else f"{request.name}:{request.payload}"
        time = now()
        rows: dict[int, Item] = {}
        draws = dict.fromkeys(range(len(new)), 0)
        while draws:
            items = [
                new_item(new[index], _new_id() if request is None else request.id(index, draw), time, token)
                for index, draw in draws.items()
            ]
            refusals = self._insert(items)
            if all(met is None for met in refusals):
                rows.update(zip(draws, items, strict=True))
                break
            for index, met in zip(list(draws), refusals, strict=True):
                if met is None:
                    continue
                met_token = met["create_token"]["S"]
                if met_token == token:
                    # Its own row: a response was lost, or an earlier attempt died after writing it.
                    rows[index] = met
                    del draws[index]
                elif request is not None and met_token.startswith(f"{request.name}:"):
                    raise KeyReusedError
                else:
                    draws[index] += 1
        return [customer(rows[index]) for index in range(len(new))]

    def _insert(self, items: list[dict[str, AttributeValueTypeDef]]) -> Sequence[Item | None]:
        """Insert all items or none, and return for each the row found in its place. All None: they are inserted."""
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
            if len(puts) == 1:
                self._insert_one(puts[0])
            else:
                # DynamoDB recognizes a repeated transaction by its token.
                token = secrets.token_urlsafe(16)
                writes: Any = [{"Put": put} for put in puts]
                call(lambda: self._client.transact_write_items(TransactItems=writes, ClientRequestToken=token))
        except ClientError as error:
            return [_refused_item(error)] if len(puts) == 1 else _cancelled_items(error)
        return [None] * len(items)

    def _insert_one(self, put: Any) -> None:  # noqa: ANN401 (the arguments of put_item)
        try:
            call(lambda: self._client.put_item(**put), repeatable=False)
        except OutcomeUnknownError:
            item = self._item(int(put["Item"]["id"]["N"]))
            if item is None or item["create_token"] != put["Item"]["create_token"]:
                raise

    def update(self, customer_id: int, changes: Changes, versions: Sequence[int] | None) -> Customer:
        """Change some fields of a customer in one conditional write, and return the changed customer.

        Parameters
        ----------
        customer_id
            The customer.
        changes
            At least one field. None clears an optional field.
        versions
            The versions at which the change may be made, at most 90; None for any.

        Raises
        ------
        NotFoundError
            There is no such customer.
        VersionMismatchError
            The customer has another version.
        """
        token: AttributeValueTypeDef = {"S": secrets.token_urlsafe(12)}
        update, names, values = _update_expression(customer_id, changes)
        condition, condition_values = _at(versions)
        arguments: Any = {
            "TableName": self._table,
            "Key": key(customer_id),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {**values, **condition_values, ":write_token": token},
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            answer = call(lambda: self._client.update_item(**arguments), repeatable=False)
        except OutcomeUnknownError:
            current = self._item(customer_id)
            if current is None or current.get("write_token") != token:
                raise
            return customer(current)
        except ClientError as error:
            raise _refusal(_refused_item(error)) from None
        return customer(answer["Attributes"])

    def delete(self, customer_id: int, versions: Sequence[int] | None) -> None:
        """Delete a customer.

        Parameters
        ----------
        customer_id
            The customer.
        versions
            The versions at which it may be deleted, at most 90; None for any.

        Raises
        ------
        NotFoundError
            There is no such customer.
        VersionMismatchError
            The customer has another version.
        """
        condition, condition_values = _at(versions)
        arguments: Any = {
            "TableName": self._table,
            "Key": key(customer_id),
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if condition_values:
            arguments["ExpressionAttributeNames"] = {"#version": "version"}
            arguments["ExpressionAttributeValues"] = condition_values
        try:
            call(lambda: self._client.delete_item(**arguments), repeatable=False)
        except ClientError as error:
            raise _refusal(_refused_item(error)) from None

    def page(self, group_id: int, sort: str, *, descending: bool, limit: int, after: str | None) -> Page:
        """Read a page of a group, eventually consistent, in one Query.

        Parameters
        ----------
        group_id
            The group.
        sort
            The field to sort by, one of `fields.SORT_FIELDS`.
        descending
            Whether in reverse order.
        limit
            The most customers to return.
        after
            `next_position` of the previous page; None for the first page.
        """
        order = ORDERS[sort]
        start: Any = {}
        if after is not None:
            position: AttributeValueTypeDef = {"N": after} if sort == "id" else {"S": after}
            last_id = int(after) if sort == "id" else id_of(after)
            start["ExclusiveStartKey"] = {"group_id": number(group_id), **key(last_id), order.key: position}
        answer = call(
            lambda: self._client.query(
                TableName=self._table,
                IndexName=order.name,
                KeyConditionExpression="group_id = :group_id",
                ExpressionAttributeValues={":group_id": number(group_id)},
                ScanIndexForward=not descending,
                # One row more than requested shows whether there is a next page, without a second call.
                Limit=limit + 1,
                **start,
            )
        )
        items = answer["Items"][:limit]
        # DynamoDB ends a page of very long rows itself, at 1 MB.
        more = len(answer["Items"]) > limit or "LastEvaluatedKey" in answer
        last = items[-1][order.key] if more and items else None
        return Page([customer(item) for item in items], None if last is None else last.get("S") or last["N"])

    def _item(self, customer_id: int) -> Item | None:
        answer = call(lambda: self._client.get_item(TableName=self._table, Key=key(customer_id), ConsistentRead=True))
        return answer.get("Item")


def _update_expression(
    customer_id: int, changes: Changes
) -> tuple[str, dict[str, str], dict[str, AttributeValueTypeDef]]:
    """Return the UpdateExpression of a change, its names, and its values except that of the write token."""
    fields = attributes(changes)
    own: dict[str, AttributeValueTypeDef] = {**key_attributes(changes, customer_id), "updated_at": {"S": now()}}
    sets = [f"#customer.#{name} = :new_{name}" for name in fields]
    sets += [f"#{name} = :{name}" for name in own]
    sets += ["#version = #version + :one", "#write_token = :write_token"]
    cleared = [name for name in changes if name not in fields]
    removes = ", ".join(f"#customer.#{name}" for name in cleared)
    names = {f"#{name}": name for name in (*fields, *cleared, *own, "customer", "version", "write_token")}
    values: dict[str, AttributeValueTypeDef] = {f":new_{name}": value for name, value in fields.items()}
    values |= {f":{name}": value for name, value in own.items()} | {":one": {"N": "1"}}
    return f"SET {', '.join(sets)}" + (f" REMOVE {removes}" if cleared else ""), names, values


def _new_id() -> int:
    return secrets.randbelow(MAX_ID) + 1


def _at(versions: Sequence[int] | None) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Return the condition that a customer exists, at one of the versions, with its values."""
    if versions is None:
        return "attribute_exists(id)", {}
    # No version is 0, so an empty list matches nothing, and the refusal still shows the current version.
    values = {f":v{index}": number(version) for index, version in enumerate(versions or [0])}
    return f"attribute_exists(id) AND #version IN ({', '.join(values)})", values


def _refused_item(error: ClientError) -> Item:
    """Return the row that a condition refused, empty if there is none.

    Raises
    ------
    ClientError
        The error is another one.
    """
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: Item = error.response.get("Item", {})  # type: ignore[assignment]  # botocore-stubs leave it out
    return item


def _cancelled_items(error: ClientError) -> list[Item | None]:
    """Return for each write of a transaction the row that its condition refused; None where it did not.

    Raises
    ------
    ClientError
        The error is another one.
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
