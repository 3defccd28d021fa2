"""The template has the indexes that the declaration of the customer asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from customers.store.items import EMAIL_INDEX, ORDERS

TEMPLATE: Final = Path(__file__).parents[2] / "template.yaml"
PROJECTED: Final = {"customer", "created_at", "updated_at", "version"}
"""What a listing needs beside the keys."""

INDEX: Final = """
        - IndexName: {order.name}
          KeySchema:
            - *group
            - AttributeName: {order.key}
              KeyType: RANGE
          Projection: *projection

and under AttributeDefinitions:

        - AttributeName: {order.key}
          AttributeType: S
"""


def test_there_is_an_index_for_each_sort_order_and_for_addresses_and_no_other() -> None:
    table: dict[str, Any] = yaml_parse(TEMPLATE.read_text())["Resources"]["CustomersTable"]["Properties"]
    declared = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    types = {definition["AttributeName"]: definition["AttributeType"] for definition in table["AttributeDefinitions"]}
    index = declared.pop(EMAIL_INDEX.name)
    keys = [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]]
    assert keys == [(EMAIL_INDEX.key, "HASH"), ("id", "RANGE")]
    assert types.pop(EMAIL_INDEX.key) == "S"
    assert set(index["Projection"]["NonKeyAttributes"]) == PROJECTED
    for sort, order in ORDERS.items():
        assert order.name in declared, f"groups sort by {sort}: write in {TEMPLATE.name}\n{INDEX.format(order=order)}"
        index = declared.pop(order.name)
        assert [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]] == [
            ("group_id", "HASH"),
            (order.key, "RANGE"),
        ]
        assert types.pop(order.key) == ("N" if sort == "id" else "S")
        assert index["Projection"]["ProjectionType"] == "INCLUDE"
        assert set(index["Projection"]["NonKeyAttributes"]) == PROJECTED
    assert not declared, f"no group sorts by {', '.join(declared)}: take them out of {TEMPLATE.name}"
    assert types == {"group_id": "N"}
