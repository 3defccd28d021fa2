"""`customers restore`: put back customers from a restored table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.target import Target, find_target, stack_option
from cli.terminal import console
from customers.store.items import is_customer, key, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.store.items import Item

_SECOND: Final = len("2026-11-26T09:14:03")
_SALT: Final = key(0)
"""The item with the salt that ids of external ids are derived with."""


@click.command()
@click.option("--from-table", "source", required=True, metavar="TABLE", help="The table that a backup was restored to.")
@click.option("--deleted-by", metavar="TOKEN", help="A token's id: undo its deletions too. Others stay deleted.")
@stack_option
def restore(source: str, deleted_by: str | None, stack: str | None) -> None:
    """Put back the customers of a restored table that are missing, as they were.

    It never overwrites a customer, and deleted customers stay deleted. So you can run it again.
    """
    target = find_target(stack)
    _match_salts(target, source)
    back = erased = 0
    with console(stderr=True).status("") as shown:
        for read, item in enumerate(_customers(target, source), 1):
            shown.update(f"{read} customers read, {back} restored")
            found = target.dynamodb.get_item(
                TableName=target.outputs["CustomersTableName"], Key=key(int(item["id"]["N"])), ConsistentRead=True
            ).get("Item", {})
            if is_customer(found):
                continue
            deletion = _deletion(target, item)
            author: Any = (deletion or found).get("author", {"M": {}})
            by = author["M"].get("token_id", {}).get("S")
            # With neither a tombstone nor an author, someone removed the item directly, not through the service.
            if (found or (deletion and by)) and (deleted_by is None or by != deleted_by):
                erased += 1
            else:
                back += _put_back(target, item, found, deletion)
    click.echo(f"{back} restored. {erased} stay deleted, because someone deleted them.", err=True)


def _match_salts(target: Target, source: str) -> None:
    """Make sure that both tables derive the same ids from external ids."""
    table = target.outputs["CustomersTableName"]
    ours, theirs = _salt_in(target, table), _salt_in(target, source)
    if theirs is None:
        return
    if ours is None:
        # Written before any customer, because every external id depends on it.
        target.dynamodb.put_item(TableName=table, Item=theirs, ConditionExpression="attribute_not_exists(id)")
    elif ours["salt"] != theirs["salt"]:
        raise click.ClickException(
            f"{source} is not a backup of this service: it has a different salt, so its customers have different ids."
        )


def _salt_in(target: Target, table: str) -> Item | None:
    try:
        return target.dynamodb.get_item(TableName=table, Key=_SALT, ConsistentRead=True).get("Item")
    except target.dynamodb.exceptions.ResourceNotFoundException:
        raise click.ClickException(
            f"There is no table {table}, or it is not ready yet. List the tables with `aws dynamodb list-tables`, and "
            "check the region and --stack."
        ) from None


def _customers(target: Target, source: str) -> Iterator[Item]:
    for page in target.dynamodb.get_paginator("scan").paginate(TableName=source, ConsistentRead=True):
        yield from (item for item in page["Items"] if is_customer(item))


def _deletion(target: Target, item: Item) -> Item:
    """Return the history entry of a customer's deletion since the backup. Empty if there is none."""
    table = target.outputs.get("HistoryTableName")
    if table is None:
        return {}
    deletion_key = {"customer_id": item["id"], "version": number(0)}
    deletion = target.dynamodb.get_item(TableName=table, Key=deletion_key, ConsistentRead=True).get("Item", {})
    # To the second: the stream dates items that were removed directly no better.
    return deletion if deletion and deletion["changed_at"]["S"][:_SECOND] >= item["updated_at"]["S"][:_SECOND] else {}


def _put_back(target: Target, item: Item, found: Item, deletion: Item) -> bool:
    """Write a customer where there is no item or a tombstone. Return whether it was written."""
    restored: Any = {**item, "author": {"M": {}}}
    last = max(int(found.get("version", number(0))["N"]), int(deletion.get("erased_to", number(0))["N"]))
    if last:
        # The next version, so that no old ETag matches and the history continues.
        restored["version"] = restored["created_version"] = number(last + 1)
    if "passed_over" in found:
        # Other external ids have passed over it since the backup, and its next tombstone must say so.
        restored["passed_over"] = found["passed_over"]
    condition: Any = {"ConditionExpression": "attribute_not_exists(id)"}
    if found:
        condition = {
            "ConditionExpression": "attribute_exists(deleted_at) AND #version = :version",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":version": found["version"]},
        }
    try:
        target.dynamodb.put_item(TableName=target.outputs["CustomersTableName"], Item=restored, **condition)
    except target.dynamodb.exceptions.ConditionalCheckFailedException:
        # Someone else wrote the item first.
        return False
    return True
