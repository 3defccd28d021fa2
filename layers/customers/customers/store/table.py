"""The table of customers: reads and conditional updates of single items."""

from __future__ import annotations

import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import (
    CustomersError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
    VersionMismatchError,
)
from customers.store.items import ORDERS, is_customer, key, now, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemOutputTypeDef

    from customers.store.author import Author
    from customers.store.items import Item

TOMBSTONE_LIFE: Final = timedelta(days=30)
"""How long a tombstone stays, unless an external id has been passed over to another id because of it."""

# A tombstone keeps nothing of the person. It says what the operation that created the customer looked like, so that a
# repetition of that operation recognizes it.
_TOMBSTONE: Final = (
    "SET deleted_at = :now, #order = :now, #version = #version + :one, old_create_token = create_token, "
    "old_created_at = created_at, expires_at = if_not_exists(passed_over, :expiry), write_token = :write_token, "
    "author = :author "
    "REMOVE customer, group_id, created_at, updated_at, create_token, email_key, "
    + ", ".join(order.key for order in ORDERS.values() if order.key != "id")
)


class RefusedError(CustomersError):
    """A condition refused a write.

    Parameters
    ----------
    item
        What is in the table; empty if nothing is.
    """

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item

    def reason(self) -> NotFoundError | VersionMismatchError:
        """Return the reason, if the condition was `live_at`."""
        if not is_customer(self.item):
            return no_customer()
        return VersionMismatchError(int(self.item["version"]["N"]))


class Update(NamedTuple):
    """An update and its condition. `:write_token` is its own."""

    expression: str
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, AttributeValueTypeDef]


class Table:
    """The table of customers, by its client and its name.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self.client = client
        self.name = name

    def read(self, item_id: int) -> Item:
        """Read an item, strongly consistent; empty if there is none."""
        answer = call(lambda: self.client.get_item(TableName=self.name, Key=key(item_id), ConsistentRead=True))
        return answer.get("Item", {})

    def update(self, item_id: int, update: Update, token: str | None = None) -> Item:
        """Update an item, and return it as it is then.

        Parameters
        ----------
        item_id, update
            Which one, and how.
        token
            Identifies the write; None: a new one.

        A write that may have been carried out is never sent again, because others may have written since. Its token in
        the item shows that it was applied (docs/decisions/0014).

        Raises
        ------
        RefusedError
            The condition refused it.
        OutcomeUnknownError
            It may have been applied, and the item does not show it.
        """
        write_token: AttributeValueTypeDef = {"S": token or secrets.token_urlsafe(12)}
        values = {**update.values, ":write_token": write_token}
        try:
            answer = self._send(key(item_id), update._replace(values=values), repeatable=False)
        except OutcomeUnknownError as unknown:
            return self.confirm(item_id, "write_token", write_token, unknown)
        except ClientError as error:
            raise RefusedError(refused_item(error)) from None
        return answer["Attributes"]

    def confirm(self, item_id: int, name: str, token: AttributeValueTypeDef, unknown: OutcomeUnknownError) -> Item:
        """Return an item whose token shows that a write was applied. Otherwise, raise that this is unknown."""
        try:
            item = self.read(item_id)
        except StoreUnavailableError:
            raise unknown from None
        if item.get(name) != token:
            raise unknown
        return item

    def mark(self, met: Item, update: Update) -> bool:
        """Set what only imports look at in an item that was met, and return whether the condition allowed it.

        Unlike `update`, it may be sent again: the same mark twice is one.
        """
        try:
            self._send({"id": met["id"]}, update, repeatable=True)
        except ClientError as error:
            refused_item(error)
            return False
        return True

    def _send(self, item_key: Item, update: Update, *, repeatable: bool) -> UpdateItemOutputTypeDef:
        names: Any = {"ExpressionAttributeNames": update.names} if update.names else {}
        return call(
            lambda: self.client.update_item(
                TableName=self.name,
                Key=item_key,
                UpdateExpression=update.expression,
                ConditionExpression=update.condition,
                **names,
                ExpressionAttributeValues=update.values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            ),
            repeatable=repeatable,
        )

    def bury(self, item_id: int, versions: Sequence[int] | None, author: Author) -> None:
        """Replace a customer by a tombstone.

        It keeps the id and the version, so that nothing that arrives late or twice creates the customer again, and who
        deleted it.

        Raises
        ------
        RefusedError, OutcomeUnknownError
            As `update`.
        """
        condition, condition_values = live_at(versions)
        values: dict[str, AttributeValueTypeDef] = {
            **condition_values,
            ":now": {"S": now()},
            ":one": number(1),
            ":author": author.attribute(),
            ":expiry": number(int(time.time() + TOMBSTONE_LIFE.total_seconds())),
        }
        self.update(item_id, Update(_TOMBSTONE, condition, {"#version": "version", "#order": "order"}, values))


def live_at(versions: Sequence[int] | None) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Return the condition that there is a customer, at one of the versions, with its values."""
    if versions is None:
        return "attribute_exists(customer)", {}
    # No version is 0, so an empty list matches nothing, and the refusal still shows the current version.
    values = {f":v{index}": number(version) for index, version in enumerate(versions or [0])}
    return f"attribute_exists(customer) AND #version IN ({', '.join(values)})", values


def refused_item(error: ClientError) -> Item:
    """Return the item that a condition refused, empty if there is none.

    Raises
    ------
    ClientError
        The error is another one.
    """
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: Item = error.response.get("Item", {})  # type: ignore[assignment]  # botocore-stubs leave it out
    return item


def no_customer() -> NotFoundError:
    """Return the error that there is no such customer."""
    return NotFoundError("There is no such customer.")
