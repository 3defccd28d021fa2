"""The keys that cursors are sealed with: one item of the table of kept responses, made when it is first needed."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from customers.aws.dynamodb import call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

_KEY: Final[Mapping[str, AttributeValueTypeDef]] = {"id": {"S": "cursor-key"}}
"""No kept response has this id. In the template, the roles of ListGroup, FindCustomers and GetHistory name it."""


class CursorKeys:
    """The current key and the previous one.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.

    Parameters
    ----------
    client, table
        Where they are.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self) -> list[str]:
        """Return the current key, and the previous one if there is one. The first call creates a key."""
        answer = call(
            # One call reads and creates, so that two functions that start at the same time agree.
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_KEY,
                UpdateExpression="SET current_key = if_not_exists(current_key, :new)",
                ExpressionAttributeValues=_new_key(),
                ReturnValues="ALL_NEW",
            )
        )
        item = answer["Attributes"]
        return [item[name]["S"] for name in ("current_key", "previous_key") if name in item]

    def rotate(self) -> None:
        """Replace the current key. It still opens cursors, as the previous key, until the next rotation."""
        new = _new_key()
        # The condition is for a repetition, whose first attempt was applied.
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            call(
                lambda: self._client.update_item(
                    TableName=self._table,
                    Key=_KEY,
                    UpdateExpression="SET previous_key = if_not_exists(current_key, :new), current_key = :new",
                    ConditionExpression="attribute_not_exists(current_key) OR current_key <> :new",
                    ExpressionAttributeValues=new,
                )
            )


def _new_key() -> dict[str, AttributeValueTypeDef]:
    return {":new": {"S": secrets.token_urlsafe(32)}}
