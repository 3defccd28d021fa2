"""The table of customers, a page at a time: a group in order, an address, or everybody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from customers.aws.dynamodb import call
from customers.store.items import EMAIL_INDEX, ORDERS, customer, email_key, is_customer, key, number
from customers.store.sorting import id_of, prefix_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Customer
    from customers.store.items import Item

_SCANS: Final = 2
"""For one page of everybody, whose items may also be tombstones."""
_ENOUGH: Final = 500_000
"""Bytes of a page. A scan adds up to 1 MB of items, which may quadruple: JSON escapes each quotation mark, and Lambda's
response, which has at most 6 MB, is JSON in JSON."""


class Page(NamedTuple):
    """Some customers."""

    customers: list[Customer]
    next_position: str | None
    """Where the next page starts; None on the last page."""


class PageStore:
    """The table of customers.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def group(  # noqa: PLR0913 (what a page depends on)
        self, group_id: int, sort: str, *, descending: bool, limit: int, after: str | None, prefix: str | None = None
    ) -> Page:
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
        prefix
            What the field's value starts with, apart from case and accents; None for all. Only with a text field.
        """
        order = ORDERS[sort]
        start: Any = {}
        if after is not None:
            position: AttributeValueTypeDef = {"N": after} if sort == "id" else {"S": after}
            last_id = int(after) if sort == "id" else id_of(after)
            start["ExclusiveStartKey"] = {"group_id": number(group_id), **key(last_id), order.key: position}
        condition = "group_id = :group_id"
        values: dict[str, AttributeValueTypeDef] = {":group_id": number(group_id)}
        if prefix is not None:
            condition += f" AND begins_with({order.key}, :prefix)"
            values[":prefix"] = {"S": prefix_text(prefix)}
        answer = call(
            lambda: self._client.query(
                TableName=self._table,
                IndexName=order.name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ScanIndexForward=not descending,
                # One row more than requested shows whether there is a next page, without a second call.
                Limit=limit + 1,
                **start,
            )
        )
        return _page(answer["Items"], limit, order.key, more="LastEvaluatedKey" in answer)

    def with_email(self, address: str, *, limit: int, after: str | None) -> Page:
        """Read a page of the customers with an address, ignoring case, eventually consistent, in one Query.

        Parameters
        ----------
        address
            A valid address, in its canonical form.
        limit, after
            As for a group.
        """
        folded: AttributeValueTypeDef = {"S": email_key(address)}
        start: Any = {} if after is None else {"ExclusiveStartKey": {EMAIL_INDEX.key: folded, **key(int(after))}}
        answer = call(
            lambda: self._client.query(
                TableName=self._table,
                IndexName=EMAIL_INDEX.name,
                KeyConditionExpression=f"{EMAIL_INDEX.key} = :email",
                ExpressionAttributeValues={":email": folded},
                Limit=limit + 1,
                **start,
            )
        )
        return _page(answer["Items"], limit, "id", more="LastEvaluatedKey" in answer)

    def everybody(self, *, limit: int, after: str | None) -> Page:
        """Read a page of all customers, strongly consistent, in no particular order.

        It may have fewer customers than the limit, even none, before the last page.
        """
        found: list[Customer] = []
        for _ in range(_SCANS):
            items, after = self._scan(limit - len(found), after)
            found += [customer(item) for item in items if is_customer(item)]
            if after is None or len(found) == limit or len(json.dumps(found)) > _ENOUGH:
                break
        return Page(found, after)

    def _scan(self, limit: int, after: str | None) -> tuple[Sequence[Item], str | None]:
        """Read up to `limit` items, and return them with the last one's id; None if they are the last."""
        start: Any = {} if after is None else {"ExclusiveStartKey": key(int(after))}
        answer = call(lambda: self._client.scan(TableName=self._table, ConsistentRead=True, Limit=limit, **start))
        return answer["Items"], answer["LastEvaluatedKey"]["id"]["N"] if "LastEvaluatedKey" in answer else None


def _page(items: Sequence[Item], limit: int, position: str, *, more: bool) -> Page:
    # DynamoDB ends a page of very long rows itself, at 1 MB.
    more = more or len(items) > limit
    items = items[:limit]
    last: Any = items[-1][position] if more and items else None
    return Page([customer(item) for item in items], None if last is None else last.get("S") or last["N"])
