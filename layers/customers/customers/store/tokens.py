"""Access tokens in DynamoDB. Only their hashes are stored, never the tokens."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import StoreUnavailableError
from customers.tokens import token_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class TokenRecord(NamedTuple):
    """What is known of a token. Times are seconds since the epoch."""

    token_hash: str
    """Its SHA-256, in hexadecimal."""
    scopes: tuple[str, ...]
    label: str
    """What it is for, in its owner's words."""
    created_at: int
    expires_at: int | None
    """When it stops being valid; None for never."""
    revoked_at: int | None
    """When it is revoked; None if it is not. After a rotation this may be in the future."""
    last_used_on: str | None
    """The last day on which it was used, as YYYY-MM-DD in UTC; None if it never was."""
    first_token_id: str
    """The id of the token that it replaced by rotation, or of the first one in such a line; otherwise its own."""

    def valid_at(self, second: float) -> bool:
        """Whether the token may be used at a time, in seconds since the epoch."""
        return all(end is None or second < end for end in (self.expires_at, self.revoked_at))


class TokenStore:
    """The table of tokens.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, token_hash: str) -> TokenRecord | None:
        """Return a token's record by its hash, strongly consistent, so that a revoked token is refused at once."""
        key: Mapping[str, AttributeValueTypeDef] = {"token_hash": {"S": token_hash}}
        answer = call(lambda: self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True))
        return _record(answer["Item"]) if "Item" in answer else None

    def all(self) -> list[TokenRecord]:
        """Return all tokens, the oldest first. Reads the whole table, which is as small as the number of clients."""
        pages = self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        items = call(lambda: [item for page in pages for item in page["Items"]])
        return sorted(map(_record, items), key=lambda record: record.created_at)

    def put(
        self,
        token_hash: str,
        scopes: Sequence[str],
        label: str,
        expires_at: int | None,
        first_token_id: str | None = None,
    ) -> None:
        """Store a new token.

        Parameters
        ----------
        token_hash
            Its SHA-256, in hexadecimal.
        scopes
            What it may do.
        label
            What it is for.
        expires_at
            Second since the epoch from which it is no longer valid; None for never.
        first_token_id
            Of the token that it replaces; None if it does not replace one.
        """
        item: dict[str, AttributeValueTypeDef] = {
            "token_hash": {"S": token_hash},
            "label": {"S": label},
            "created_at": {"N": str(int(time.time()))},
        }
        # DynamoDB has no empty sets.
        if scopes:
            item["scopes"] = {"SS": list(scopes)}
        if first_token_id is not None:
            item["first_token_id"] = {"S": first_token_id}
        if expires_at is not None:
            item["expires_at"] = {"N": str(expires_at)}
        call(lambda: self._client.put_item(TableName=self._table, Item=item))

    def end(self, token_hash: str, second: int) -> None:
        """Revoke a token at a time, in seconds since the epoch. An earlier revocation stays."""
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._update(
                token_hash,
                "SET revoked_at = :second",
                "(attribute_not_exists(revoked_at) OR revoked_at > :second)",
                {":second": {"N": str(second)}},
            )

    def take_away(self, token_hash: str, scopes: Sequence[str]) -> None:
        """Remove one or more scopes from a token. Those that it lacks do not matter."""
        self._update(token_hash, "DELETE scopes :scopes", None, {":scopes": {"SS": list(scopes)}})

    def mark_used(self, token_hash: str, day: str) -> None:
        """Store the day on which a token was last used, YYYY-MM-DD in UTC. If that fails, a later call does it."""
        with suppress(StoreUnavailableError, ClientError):
            self._update(token_hash, "SET last_used_on = :day", None, {":day": {"S": day}})

    def _update(
        self, token_hash: str, update: str, condition: str | None, values: Mapping[str, AttributeValueTypeDef]
    ) -> None:
        # Conditional, because an update would bring a deleted token back.
        conditions = ["attribute_exists(token_hash)", *([condition] if condition else [])]
        call(
            lambda: self._client.update_item(
                TableName=self._table,
                Key={"token_hash": {"S": token_hash}},
                UpdateExpression=update,
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeValues=values,
            )
        )


def _record(item: Mapping[str, Any]) -> TokenRecord:
    return TokenRecord(
        token_hash=item["token_hash"]["S"],
        scopes=tuple(sorted(item["scopes"]["SS"])) if "scopes" in item else (),
        label=item["label"]["S"],
        created_at=int(item["created_at"]["N"]),
        expires_at=int(item["expires_at"]["N"]) if "expires_at" in item else None,
        revoked_at=int(item["revoked_at"]["N"]) if "revoked_at" in item else None,
        last_used_on=item["last_used_on"]["S"] if "last_used_on" in item else None,
        first_token_id=item["first_token_id"]["S"] if "first_token_id" in item else token_id(item["token_hash"]["S"]),
    )
