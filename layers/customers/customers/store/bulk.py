"""The table of customers, for imports: many rows at a time, each on its own, at the price of plain writes."""

from __future__ import annotations

import random
import time
from functools import cache, partial
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from customers.aws.dynamodb import call
from customers.errors import StoreUnavailableError
from customers.store.external_ids import ExternalIdStore
from customers.store.items import Creation, creation_of, key, new_item, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, BatchStatementRequestTypeDef

    from customers.customer import NewCustomer
    from customers.store.identity import RequestName

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


class BulkStore:
    """The table of customers, for imports.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        self._keyed = ExternalIdStore(client, table)

    def insert_each(self, request: RequestName, rows: Mapping[int, NewCustomer], since: str) -> dict[int, bool]:
        """Insert the rows of an import, each on its own.

        Parameters
        ----------
        request
            Identifies the import. A repetition finds its own rows and writes none twice.
        rows
            The customers, by their index in the import.
        since
            When the import started, as in `created_at`.

        Returns
        -------
        dict[int, bool]
            For each index, whether the import created the row, now or in an earlier try; False if it was there before.
        """
        outcomes: dict[int, bool] = {}
        draws = {index: 0 for index, row in rows.items() if row.get("external_id") is None}
        for index in rows.keys() - draws.keys():
            external_id = str(rows[index].get("external_id"))
            _, outcomes[index] = self._keyed.put(external_id, rows[index], versions=None, exists=None)
        pace = _Pace()
        while draws:
            ids = {index: request.id(index, draw) for index, draw in draws.items()}
            inserted, met = self._insert(request, {index: rows[index] for index in draws}, ids, pace)
            for index in inserted:
                outcomes[index] = True
                del draws[index]
            there = self._create_tokens([ids[index] for index in met])
            for index in met:
                # A missing row was deleted in the meantime. It is inserted again, as if it had never been found.
                token, created_at = there.get(ids[index], ("", ""))
                if token == _row_token(request, index):
                    outcomes[index] = created_at >= since
                    del draws[index]
                elif token:
                    draws[index] += 1
        return outcomes

    def created_by(self, request: RequestName, indexes: Sequence[int]) -> set[int]:
        """Return the indexes of an import's rows that are in the table."""
        ids = {index: request.id(index, 0) for index in indexes}
        there = self._create_tokens(list(ids.values()))
        return {
            index
            for index, customer_id in ids.items()
            if there.get(customer_id, ("",))[0] == _row_token(request, index)
        }

    def _insert(
        self, request: RequestName, rows: Mapping[int, NewCustomer], ids: Mapping[int, int], pace: _Pace
    ) -> tuple[list[int], list[int]]:
        """Try to insert each row once; return the indexes of those inserted, and of those whose id is taken."""
        time_ = now()
        # All statements first: the CPU is faster at one task than if it alternates with waiting for the table.
        statements = {
            index: self._insertion(new_item(row, Creation(ids[index], time_, _row_token(request, index))))
            for index, row in rows.items()
        }
        inserted: list[int] = []
        met: list[int] = []
        for indexes in batched(statements, _STATEMENTS, strict=False):
            pace.wait()
            errors = self._execute([statements[index] for index in indexes])
            inserted += [index for index, error in zip(indexes, errors, strict=True) if error is None]
            met += [index for index, error in zip(indexes, errors, strict=True) if error == "DuplicateItem"]
            pace.note(sum(error in _REFUSED_FOR_NOW for error in errors), len(indexes))
        return inserted, met

    def _insertion(self, item: dict[str, AttributeValueTypeDef]) -> BatchStatementRequestTypeDef:
        """Return the statement that inserts a row where there is none."""
        return {"Statement": _insert_statement(self._table, tuple(item)), "Parameters": list(item.values())}

    def _execute(self, statements: Sequence[BatchStatementRequestTypeDef]) -> list[str | None]:
        """Execute up to 25 statements; return for each the code of its error, or None."""
        try:
            answer = call(lambda: self._client.batch_execute_statement(Statements=statements))
        except StoreUnavailableError:
            return ["ThrottlingError"] * len(statements)
        codes: list[str | None] = [response.get("Error", {}).get("Code") for response in answer["Responses"]]
        if unforeseen := set(codes) - _REFUSED_FOR_NOW - {None, "DuplicateItem"}:
            raise RuntimeError(f"the table refused a row: {', '.join(map(str, unforeseen))}")
        return codes

    def _create_tokens(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return `create_token` and `created_at` of the rows that exist, strongly consistent."""
        found: dict[int, tuple[str, str]] = {}
        for some in batched(ids, _KEYS, strict=False):
            wanted: Any = {
                self._table: {
                    "Keys": [key(customer_id) for customer_id in some],
                    "ConsistentRead": True,
                    "ProjectionExpression": "id, create_token, created_at, old_create_token, old_created_at",
                }
            }
            tries = 0
            while wanted:
                answer = call(partial(self._client.batch_get_item, RequestItems=wanted))
                for item in answer["Responses"].get(self._table, []):
                    found[int(item["id"]["N"])] = creation_of(item)
                wanted = answer.get("UnprocessedKeys")
                if wanted:
                    tries += 1
                    if tries == _TRIES:
                        raise StoreUnavailableError
                    _wait(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries))
        return found


@cache
def _insert_statement(table: str, attributes: tuple[str, ...]) -> str:
    return f'INSERT INTO "{table}" VALUE {{{", ".join(f"'{name}': ?" for name in attributes)}}}'


def _row_token(request: RequestName, index: int) -> str:
    return f"{request.name}:{index}"


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
