"""The table of customers, for imports: rows find their customers, and are written only where they differ.

A row is known by its customer's id, by its external id, or by its content. All three lead to one item, so a row that is
delivered twice finds what it wrote.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from customers.errors import OutcomeUnknownError
from customers.store.bulk import Batches
from customers.store.external_ids import pass_over, replacement, salt_of
from customers.store.identity import HALF
from customers.store.items import Creation, is_customer, new_item, now, stored_fields
from customers.store.table import RefusedError, Table, Update

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import NewCustomer
    from customers.store.identity import ImportRow, Salt, Source
    from customers.store.items import Item

type Refusal = Literal["deleted", "version_mismatch", "external_id_mismatch"]
type Outcome = Literal["created", "updated", "unchanged", "already_there", "superseded"] | Refusal
"""What becomes of a row."""
_REFUSED_ALONE: Final = frozenset({"version_mismatch", "external_id_mismatch"})
"""Refusals that do not concern other rows of the same customer."""


class _Target:
    """A row on its way to its item."""

    def __init__(self, number: int, row: ImportRow, salt: Salt, known_id: int | None) -> None:
        self.number = number
        self.row = row
        self._salt = salt
        self._draw = 0
        self._external_id = row.customer.get("external_id")
        self.earlier: _Target | None = None
        """An earlier row of the same customer, which this one replaces unless it is refused."""
        self.copies: list[int] = []
        """Later rows with the same content."""
        self.by_id = known_id is not None
        self.by_content = not self.by_id and self._external_id is None
        self.known_by = _content(row.customer) if self.by_content else str(self._external_id)
        self.key_hash: str | None = None
        if self.by_content:
            self.key_hash = salt.content_hash(self.known_by)
        elif not self.by_id:
            self.key_hash = salt.key_hash(self.known_by)
        self.id = self._next_id() if known_id is None else known_id

    def _next_id(self) -> int:
        if self.by_content:
            return self._salt.content_id(self.known_by, self._draw)
        return self._salt.id(self.known_by, self._draw)

    def with_earlier(self) -> Iterator[_Target]:
        """Yield the row, and the earlier ones of the same customer."""
        target: _Target | None = self
        while target is not None:
            yield target
            target = target.earlier

    def others(self) -> list[int]:
        """Return the other rows of the same customer."""
        return [*self.copies, *(target.number for target in self.with_earlier() if target is not self)]

    def is_foreign(self, item: Item) -> bool:
        """Whether an item belongs to something else with the same id."""
        return not self.by_id and item.get("key_hash") != {"S": self.key_hash}

    def draw_again(self) -> None:
        """Try the next id."""
        self._draw += 1
        self.id = self._next_id()

    def contradicts(self, tombstone: Item) -> bool:
        """Whether a row that is known by its id names another external id than the customer had, or none."""
        if not self.by_id:
            return False
        if self._external_id is None:
            # It would come back without the external id that leads to it.
            return self.id >= HALF
        return tombstone.get("key_hash") != {"S": self._salt.key_hash(str(self._external_id))}

    def names_another(self, item: Item) -> bool:
        """Whether a row that is known by its id names another external id than that customer has."""
        return self.by_id and self._external_id is not None and self._external_id != _external_id(item)

    def fields(self, item: Item) -> AttributeValueTypeDef:
        """Return what the customer is to be; an external id stays, even if the row does not name it."""
        kept = _external_id(item) if self.by_id and self._external_id is None else None
        return stored_fields(self.row.customer if kept is None else {**self.row.customer, "external_id": kept})

    def outcome(self, item: Item, source: Source) -> Outcome | None:
        """Return what becomes of the row if its customer is there; None if it replaces the customer."""
        if self.by_content:
            return "already_there"
        if self.names_another(item):
            return "external_id_mismatch"
        if item["customer"] == self.fields(item):
            return "unchanged"
        if self.row.version not in {None, int(item["version"]["N"]), _replaced_by(source, item)}:
            return "version_mismatch"
        return "superseded" if item["order"]["S"] > source.order(self.number) else None


class RowStore:
    """The table of customers, for the rows of imports.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = Table(client, table)
        self._batches = Batches(client, table)

    def write(self, source: Source, rows: Mapping[int, ImportRow]) -> dict[int, Outcome]:
        """Write rows, each on its own, and return what became of each.

        Parameters
        ----------
        source
            Where they come from. A repetition finds what it wrote, and writes nothing twice.
        rows
            By their number in the source.
        """
        outcomes: dict[int, Outcome] = {}
        waiting = self._first_targets(rows, salt_of(self._table).make(), outcomes)
        while waiting:
            # Two rows may have the same id if their hashes are equal. One of them waits for the next round.
            chosen = {target.id: target for target in waiting}.values()
            # A row known by its content is new more often than not. The others are looked up first.
            free = [target for target in chosen if target.by_content]
            looked_up = [target for target in chosen if not target.by_content]
            items = self._batches.read(target.id for target in looked_up)
            for target in looked_up:
                item = items.get(target.id, {})
                if not item and not target.by_id:
                    free.append(target)
                elif outcome := self._outcome(source, target, item):
                    outcomes[target.number] = outcome
                if target.earlier is not None and is_customer(item) and not target.is_foreign(item):
                    # It would have been refused in a chunk of its own, too.
                    wrong = [one.number for one in target.with_earlier() if one.names_another(item)]
                    outcomes |= dict.fromkeys(wrong, "external_id_mismatch")
            self._insert(source, free, outcomes)
            for target in chosen:
                if outcomes.get(target.number) == "deleted":
                    # So is the customer of all its rows.
                    outcomes |= dict.fromkeys(target.others(), "deleted")
            waiting = [target for target in waiting if target.number not in outcomes] + [
                # A row that is refused replaces no other.
                target.earlier
                for target in chosen
                if target.earlier is not None and outcomes.get(target.number) in _REFUSED_ALONE
            ]
            for target in waiting:
                outcomes.pop(target.number, None)
        return outcomes

    def written(self, source: Source, rows: Mapping[int, ImportRow]) -> dict[int, Outcome]:
        """Return which rows were written by an earlier attempt, and how."""
        salt = salt_of(self._table).find()
        if salt is None:
            return {}
        targets = [target for last in self._first_targets(rows, salt, {}) for target in last.with_earlier()]
        items = self._batches.read({target.id for target in targets})
        found = {target.number: _of_this_row(source, target, items.get(target.id, {})) for target in targets}
        return {number: outcome for number, outcome in found.items() if outcome}

    def _first_targets(self, rows: Mapping[int, ImportRow], salt: Salt, outcomes: dict[int, Outcome]) -> list[_Target]:
        """Return where each row goes. Of several rows for one customer, only one goes on."""
        named = self._batches.read({row.id for row in rows.values() if row.id is not None})
        targets: dict[object, _Target] = {}
        for number, row in rows.items():
            item = named.get(row.id, {}) if row.id is not None else {}
            target = _Target(number, row, salt, row.id if _is_there(item) else None)
            # A customer may be named by its id in one row, and by its external id in another.
            known_by = _external_id(item) or (row.id if target.by_id else (target.by_content, target.known_by))
            if isinstance(known_by, str):
                known_by = (False, known_by)
            other = targets.get(known_by)
            if other is None:
                targets[known_by] = target
            elif target.by_content:
                outcomes[number] = "already_there"
                other.copies.append(number)
            else:
                # The last one wins.
                outcomes[other.number] = "superseded"
                target.earlier = other
                targets[known_by] = target
        return list(targets.values())

    def _outcome(self, source: Source, target: _Target, item: Item) -> Outcome | None:
        """Return what becomes of a row whose id is taken, and write it if it changes the item. None: look again."""
        if target.is_foreign(item):
            if pass_over(self._table, item):
                target.draw_again()
            return None
        outcome = _of_this_row(source, target, item)
        if outcome is None and is_customer(item):
            order = source.order(target.number)
            outcome = target.outcome(item, source)
            if outcome == "unchanged" and target.row.repeats and item["order"]["S"] < order:
                return outcome if self._hold(item, order) else None
            return outcome or ("updated" if self._replace(source, target, item) else None)
        if outcome is None and (not item or (_is_there(item) and not source.restore)):
            outcome = "deleted"
        if outcome is None and _is_there(item):
            outcome = _refused_by(item, target, source.order(target.number))
        return outcome or ("created" if self._replace(source, target, item) else None)

    def _replace(self, source: Source, target: _Target, item: Item) -> bool:
        """Make an item the row's customer, unless it has changed since it was read; return whether it is."""
        update = replacement(
            target.row.customer,
            target.fields(item),
            target.id,
            target.key_hash,
            source.author(target.number),
            source.order(target.number),
            _replaced_by(source, item) or int(item["version"]["N"]),
        )
        values = {**update.values, ":seen": item["version"]}
        # A later row that changes nothing has left its order, but no version.
        update = update._replace(condition="#version = :seen AND #order <= :order", values=values)
        try:
            self._table.update(target.id, update, source.token(target.number))
        except (RefusedError, OutcomeUnknownError):
            # It is read again, and shows what came of it.
            return False
        return True

    def _hold(self, item: Item, order: str) -> bool:
        """Keep a customer as it is against rows that come before a row, but later; return whether it still is.

        No version and no event: nothing changes that anybody can see.
        """
        names = {"#order": "order", "#version": "version"}
        values: dict[str, AttributeValueTypeDef] = {":order": {"S": order}, ":seen": item["version"]}
        condition = "#version = :seen AND #order < :order"
        return self._table.mark(item, Update("SET #order = :order", condition, names, values))

    def _insert(self, source: Source, targets: Iterable[_Target], outcomes: dict[int, Outcome]) -> None:
        """Create the customers of rows whose ids are free, as far as they are."""
        time_ = now()
        by_number = {target.number: target for target in targets}
        inserted, met = self._batches.insert(
            (number, _item(source, target, time_)) for number, target in by_number.items()
        )
        outcomes |= dict.fromkeys(inserted, "created")
        content = {number: by_number[number] for number in met if by_number[number].by_content}
        items = self._batches.read({target.id for target in content.values()})
        for number, target in content.items():
            # A missing item has gone since: the next attempt creates it.
            if item := items.get(target.id, {}):
                outcome = self._outcome(source, target, item)
                if outcome:
                    outcomes[number] = outcome


def _item(source: Source, target: _Target, time_: str) -> Item:
    """Return the item of the customer that a row creates."""
    token, author = source.token(target.number), source.author(target.number)
    creation = Creation(target.id, time_, token, key_hash=target.key_hash, author=author)
    return new_item(target.row.customer, creation, source.order(target.number))


def _of_this_row(source: Source, target: _Target, item: Item) -> Outcome | None:
    """Return what an earlier attempt of this row did, if the item shows it."""
    token = {"S": source.token(target.number)}
    if token in (item.get("create_token"), item.get("old_create_token")):
        return "created"
    return "updated" if item.get("write_token") == token else None


def _replaced_by(source: Source, item: Item) -> int | None:
    """Return the version that rows of the same source have replaced: their changes are nobody else's. None if none."""
    return int(item["replaced"]["N"]) if "replaced" in item and source.wrote(item) else None


def _refused_by(tombstone: Item, target: _Target, order: str) -> Outcome | None:
    """Return why a row does not create a deleted customer again, although its source asks for that."""
    if target.contradicts(tombstone):
        return "external_id_mismatch"
    # It was deleted after the file was put there.
    return "superseded" if tombstone["order"]["S"] > order else None


def _is_there(item: Item) -> bool:
    """Whether an item is a customer, or a tombstone that has not expired: DynamoDB removes those with a delay."""
    if is_customer(item):
        return True
    return "deleted_at" in item and int(item["expires_at"]["N"]) > time.time()


def _external_id(item: Item) -> str | None:
    fields: Any = item["customer"]["M"] if is_customer(item) else {}
    return fields["external_id"]["S"] if "external_id" in fields else None


_CONTENT: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def _content(customer: NewCustomer) -> str:
    """Return what a row is known by that has no key: what it says, without what it leaves open.

    A new optional field does not change it.
    """
    said = {name: value for name, value in customer.items() if value not in (None, {})}
    return _CONTENT.encode(said)
