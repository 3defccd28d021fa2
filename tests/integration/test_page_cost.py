"""What a page costs does not depend on the size of its group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.engine import Meter
from benchmarks.pages import fill
from customers.fields import SORT_FIELDS
from customers.store.customers import CustomerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SMALL, LARGE = 501, 502


@pytest.fixture(scope="module")
def store(dynamodb: DynamoDBClient) -> CustomerStore:
    store = CustomerStore(dynamodb, "CustomersTable")
    fill(store, SMALL, 100)
    fill(store, LARGE, 2_000)
    return store


@pytest.mark.parametrize("sort", SORT_FIELDS)
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_costs_one_query_and_the_same_in_every_group(
    store: CustomerStore, dynamodb: DynamoDBClient, sort: str, *, descending: bool
) -> None:
    meter = Meter(dynamodb)
    costs = []
    for group_id in (SMALL, LARGE):
        meter.take()
        page = store.page(group_id, sort, descending=descending, limit=100, after=None)
        assert len(page.customers) == 100
        costs.append(meter.take())
    (requests, units), (large_requests, large_units) = costs
    assert (requests, units) == (large_requests, large_units)
    assert requests == 1
    # Rows of at most 250 bytes in an index, half a unit for 4 KB of them.
    assert 0.5 <= units <= 100 * 250 / 4096 * 0.5 + 0.5
