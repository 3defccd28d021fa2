"""The cost of a page does not depend on the size of its group."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from customers.fields import SORT_FIELDS
from customers.store.customers import CustomerStore
from customers.store.pages import PageStore
from tests.conftest import dynamodb_client
from tools.benchmarks.engine import Meter
from tools.benchmarks.pages import fill

SMALL, LARGE = 501, 502


class Metered(NamedTuple):
    """The store, and the cost of its calls."""

    pages: PageStore
    meter: Meter


@pytest.fixture(scope="module")
def metered(engine: str) -> Metered:
    # It has its own client: on a shared one, the meter's hooks would stay for other tests.
    client = dynamodb_client(engine)
    store = CustomerStore(client, "CustomersTable")
    fill(store, SMALL, 100)
    fill(store, LARGE, 2_000)
    return Metered(PageStore(client, "CustomersTable"), Meter(client))


@pytest.mark.parametrize("sort", SORT_FIELDS)
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_costs_one_query_and_the_same_in_every_group(metered: Metered, sort: str, *, descending: bool) -> None:
    costs = []
    for group_id in (SMALL, LARGE):
        metered.meter.take()
        page = metered.pages.group(group_id, sort, descending=descending, limit=100, after=None)
        assert len(page.customers) == 100
        costs.append(metered.meter.take())
    (requests, units), (large_requests, large_units) = costs
    assert (requests, units) == (large_requests, large_units)
    assert requests == 1
    # A row has at most 250 bytes in an index, and 4 KB cost half a unit.
    assert 0.5 <= units <= 100 * 250 / 4096 * 0.5 + 0.5
