"""The table of customers: one customer at a time, or all of a request together."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import (
    ExternalIdTakenError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from customers.store.items import attributes, customer, is_customer, key_attributes, now
from customers.store.table import RefusedError, Table, Update, live_at, no_customer, refused_item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Changes, Customer, NewCustomer
    from customers.store.author import Author
    from customers.store.identity import RequestName
    from customers.store.items import Item
    from customers.store.places import Taken

_MERGES: Final = 20
"""Tries to merge entries into a customer that others change at the same time."""


class CustomerStore:
    """The table of customers.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time, and each write
    OutcomeUnknownError if it may have been applied and the row does not show it.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = Table(client, table)

    def get(self, customer_id: int) -> Customer:
        """Read a customer, strongly consistent.

        Raises
        ------
        NotFoundError
            There is no such customer.
        """
        item = self._table.read(customer_id)
        if not is_customer(item):
            raise no_customer()
        return customer(item)

    def create(self, new: Sequence[NewCustomer], author: Author, request: RequestName | None = None) -> list[Customer]:
        """Create customers, all or none, and return them in the same order.

        Parameters
        ----------
        new
            At least one, at most 100, the limit of a transaction. Their external ids differ.
        author
            Who creates them.
        request
            Identifies a request that may be repeated after any failure. The repetition gets the same customers, in
            their current state, and none is created twice. None: each call creates.

        Raises
        ------
        ExternalIdTakenError
            Other customers have some of the external ids.
        KeyReusedError
            An earlier request with this name asked for something else.
        """
        return cast("list[Customer]", self._create(new, author, request, leave_taken=False))

    def create_free(
        self, new: Sequence[NewCustomer], author: Author, request: RequestName | None = None
    ) -> list[Customer | Taken]:
        """Create customers, all or none but those whose external ids are taken, and return them in the same order.

        Parameters and errors are those of `create`, without ExternalIdTakenError.
        """
        return self._create(new, author, request, leave_taken=True)

    def _create(
        self, new: Sequence[NewCustomer], author: Author, request: RequestName | None, *, leave_taken: bool
    ) -> list[Customer | Taken]:
        # Imported late, because only POST creates here, and every other cold start would pay for it.
        from customers.store.places import Taken, places, tell_apart  # noqa: PLC0415

        waiting = places(new, request, author, self._table)
        outcomes: dict[int, Customer | Taken] = {}
        while open_ := [place for index, place in waiting.items() if index not in outcomes]:
            tell_apart(open_)
            time = now()
            refusals = self._insert([place.put(time) for place in open_])
            if all(met is None for met in refusals):
                outcomes |= {place.index: customer(place.item) for place in open_}
                break
            for place, met in zip(open_, refusals, strict=True):
                outcome = None if met is None else place.meet(met, self._table)
                if outcome is not None:
                    outcomes[place.index] = outcome
            taken = {index: row.customer_id for index, row in outcomes.items() if isinstance(row, Taken)}
            if taken and not leave_taken:
                raise ExternalIdTakenError(taken)
        return [outcomes[index] for index in range(len(new))]

    def _insert(self, puts: list[dict[str, Any]]) -> Sequence[Item | None]:
        """Write all items or none, and return for each the item found in its place. All None: they are written."""
        puts = [
            {"TableName": self._table.name, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **put} for put in puts
        ]
        client = self._table.client
        try:
            if len(puts) == 1:
                self._insert_one(puts[0])
            else:
                # DynamoDB recognizes a repeated transaction by its token. The client's repetition has another one.
                token = secrets.token_urlsafe(16)
                writes: Any = [{"Put": put} for put in puts]
                call(lambda: client.transact_write_items(TransactItems=writes, ClientRequestToken=token), creates=True)
        except ClientError as error:
            return [refused_item(error)] if len(puts) == 1 else _cancelled_items(error)
        return [None] * len(puts)

    def _insert_one(self, put: Any) -> None:  # noqa: ANN401 (the arguments of put_item)
        try:
            call(lambda: self._table.client.put_item(**put), repeatable=False)
        except OutcomeUnknownError as unknown:
            item = put["Item"]
            self._table.confirm(int(item["id"]["N"]), "create_token", item["create_token"], unknown)

    def update(self, customer_id: int, changes: Changes, versions: Sequence[int] | None, author: Author) -> Customer:
        """Change some fields of a customer, all in one conditional write, and return the changed customer.

        Parameters
        ----------
        customer_id
            The customer.
        changes
            At least one field. None clears an optional field, or removes an entry.
        versions
            The versions at which the change may be made, at most 90; None for any.
        author
            Who makes it.

        Raises
        ------
        NotFoundError
            There is no such customer.
        VersionMismatchError
            The customer has another version.
        InvalidError
            The customer would have too many entries.
        """
        entries = changes.get("metadata")
        if isinstance(entries, dict):
            return self._merge(customer_id, changes, entries, versions, author)
        try:
            return self._change(customer_id, changes, versions, author)
        except RefusedError as refused:
            raise refused.reason() from None

    def _merge(
        self,
        customer_id: int,
        changes: Changes,
        entries: Mapping[str, str | None],
        versions: Sequence[int] | None,
        author: Author,
    ) -> Customer:
        """Merge entries, whose limits need the stored ones, and so a read before the write."""
        # Imported late, because only a PATCH of entries needs it.
        from customers.metadata import merged  # noqa: PLC0415

        met = self._table.read(customer_id)
        for _ in range(_MERGES):
            refused = RefusedError(met)
            if not is_customer(met) or (versions is not None and int(met["version"]["N"]) not in versions):
                raise refused.reason()
            current = customer(met)
            together: Any = merged(current.get("metadata", {}), entries)
            try:
                return self._change(customer_id, {**changes, "metadata": together}, [current["version"]], author)
            except RefusedError as error:
                met = error.item
        raise StoreUnavailableError

    def _change(self, customer_id: int, changes: Changes, versions: Sequence[int] | None, author: Author) -> Customer:
        condition, values = live_at(versions)
        update = _update(customer_id, changes, author)
        update = update._replace(condition=condition, values={**update.values, **values})
        return customer(self._table.update(customer_id, update))

    def delete(self, customer_id: int, versions: Sequence[int] | None, author: Author) -> None:
        """Delete a customer. A tombstone stays for a while, without anything of the person.

        Parameters
        ----------
        customer_id
            The customer.
        versions
            The versions at which it may be deleted, at most 90; None for any.
        author
            Who deletes it.

        Raises
        ------
        NotFoundError
            There is no such customer.
        VersionMismatchError
            The customer has another version.
        """
        try:
            self._table.bury(customer_id, versions, author)
        except RefusedError as refused:
            raise refused.reason() from None


def _update(customer_id: int, changes: Changes, author: Author) -> Update:
    """Return the update that makes some changes; its condition is the caller's."""
    fields = attributes(changes)
    time: AttributeValueTypeDef = {"S": now()}
    own = {**key_attributes(changes, customer_id), "updated_at": time, "order": time, "author": author.attribute()}
    sets = [f"customer.#{name} = :new_{name}" for name in fields]
    sets += [f"#{name} = :{name}" for name in own]
    sets += ["#version = #version + :one", "write_token = :write_token"]
    cleared = [name for name in changes if name not in fields]
    removes = ", ".join(f"customer.#{name}" for name in cleared)
    names = {f"#{name}": name for name in (*fields, *cleared, *own, "version")}
    values: dict[str, AttributeValueTypeDef] = {f":new_{name}": value for name, value in fields.items()}
    values |= {f":{name}": value for name, value in own.items()} | {":one": {"N": "1"}}
    return Update(f"SET {', '.join(sets)}" + (f" REMOVE {removes}" if cleared else ""), "", names, values)


def _cancelled_items(error: ClientError) -> list[Item | None]:
    """Return for each write of a transaction the item that its condition refused; None where it did not.

    Raises
    ------
    ClientError
        The error is another one.
    """
    reasons: Any = error.response.get("CancellationReasons", [])
    if not any(reason["Code"] == "ConditionalCheckFailed" for reason in reasons):
        raise error
    return [reason.get("Item", {}) if reason["Code"] == "ConditionalCheckFailed" else None for reason in reasons]
