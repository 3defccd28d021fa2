"""The table of customers, many items at a time: reads and inserts in batches, at a pace that the table allows."""

from __future__ import annotations

import random
import time
from functools import cache
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from customers.aws.dynamodb import call, signed
from customers.errors import StoreUnavailableError
from customers.store.items import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.store.items import Item

_STATEMENTS: Final = 25
"""In one BatchExecuteStatement, its limit."""
_KEYS: Final = 100
"""In one BatchGetItem, its limit."""
_TRIES: Final = 16
"""Tries before a table that throttles counts as unavailable: with the pauses, half a minute to three minutes."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds. Within the worker's five minutes a chunk succeeds even if each batch has room for only four rows."""
_REFUSED_FOR_NOW: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)
"""Why a statement of a batch may fail and succeed later.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
"""


_READ: Final = (
    "id, customer, #version, #order, key_hash, create_token, write_token, deleted_at, expires_at, "
    "old_create_token, old_created_at, passed_over, replaced"
)
"""What decides about a row: everything but the keys of indexes."""


class Batches:
    """Reads and inserts of many items, each on its own, at the price of plain calls.

    All batches are made and signed before the first one is sent, because the code for that takes up to six times as
    long just after a wait for the table. The functions that do so run for at most five minutes, for which a signature
    is valid.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        self._pace = _Pace()

    def read(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the items that exist, by id, strongly consistent."""
        found: dict[int, Item] = {}
        for request in [self._get(map(key, some)) for some in batched(ids, _KEYS, strict=False)]:
            left = self._take(call(request), found)
            tries = 1
            while left:
                if tries == _TRIES:
                    raise StoreUnavailableError
                _wait(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries))
                left = self._take(call(self._get(left)), found)
                tries += 1
        return found

    def _get(self, keys: Iterable[Mapping[str, AttributeValueTypeDef]]) -> Callable[[], dict[str, Any]]:
        """Return what reads the items with some keys."""
        wanted = {
            "Keys": list(keys),
            "ConsistentRead": True,
            "ProjectionExpression": _READ,
            "ExpressionAttributeNames": {"#version": "version", "#order": "order"},
        }
        return signed(self._client, "BatchGetItem", {"RequestItems": {self._table: wanted}})

    def _take(self, answer: Mapping[str, Any], found: dict[int, Item]) -> list[Any]:
        """Keep the items of a response, and return the keys that it leaves open."""
        found |= {int(item["id"]["N"]): item for item in answer["Responses"].get(self._table, [])}
        left: list[Any] = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
        return left

    def insert(self, items: Iterable[tuple[int, Item]]) -> tuple[list[int], list[int]]:
        """Try to insert each item once; return the numbers of those inserted, and of those whose id is taken.

        Those of neither list were refused for now.
        """
        inserted: list[int] = []
        met: list[int] = []
        for numbers, request in [self._insertion(some) for some in batched(items, _STATEMENTS, strict=False)]:
            self._pace.wait()
            errors = _errors(request, len(numbers))
            inserted += [number for number, error in zip(numbers, errors, strict=True) if error is None]
            met += [number for number, error in zip(numbers, errors, strict=True) if error == "DuplicateItem"]
            self._pace.note(sum(error in _REFUSED_FOR_NOW for error in errors), len(numbers))
        return inserted, met

    def _insertion(self, items: Sequence[tuple[int, Item]]) -> tuple[list[int], Callable[[], dict[str, Any]]]:
        """Return the numbers of up to 25 items, and what inserts each where there is none."""
        statements = [
            {"Statement": _insert_statement(self._table, tuple(item)), "Parameters": list(item.values())}
            for _, item in items
        ]
        request = signed(self._client, "BatchExecuteStatement", {"Statements": statements})
        return [number for number, _ in items], request


def _errors(request: Callable[[], Mapping[str, Any]], statements: int) -> list[str | None]:
    """Send a batch of statements; return for each the code of its error, or None."""
    try:
        answer = call(request)
    except StoreUnavailableError:
        return ["ThrottlingError"] * statements
    codes: list[str | None] = [response.get("Error", {}).get("Code") for response in answer["Responses"]]
    if unforeseen := set(codes) - _REFUSED_FOR_NOW - {None, "DuplicateItem"}:
        raise RuntimeError(f"the table refused a row: {', '.join(map(str, unforeseen))}")
    return codes


@cache
def _insert_statement(table: str, attributes: tuple[str, ...]) -> str:
    return f'INSERT INTO "{table}" VALUE {{{", ".join(f"'{name}': ?" for name in attributes)}}}'


class _Pace:
    """The pace of an import: as fast as the table allows, as long as it accepts anything."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._in_vain = 0

    def note(self, refused: int, tried: int) -> None:
        """Slow down after a batch that was mostly refused, and speed up after one that was not refused at all.

        A refused try is lost work, both for the import and for everyone else who uses the table. If half of a batch is
        accepted, each row is tried twice on average.

        Raises
        ------
        StoreUnavailableError
            Whole batches were refused, too many times in a row.
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
