"""What pages cost in a small group and in a large one, and whether walks through the large one are complete.

Run as `make bench-pages`, or `python -m tools.benchmarks.pages --large 100000`. Everything runs on the real engine,
with the store's own code. The figures are the engine's consumed capacity and the requests counted at the client. It
writes its tables and its plot into docs/performance.md.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import boto3

from customers.errors import NotFoundError
from customers.fields import SORT_FIELDS
from customers.store.author import Author
from customers.store.customers import CustomerStore
from customers.store.pages import PageStore
from tools.benchmarks.contenders import ROOT
from tools.benchmarks.engine import Meter, running_engine
from tools.benchmarks.report import Bar, bars, replace_part, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from customers.customer import NewCustomer
    from customers.store.pages import Page

SMALL, LARGE, SHARED = 1, 2, 3
_ADDRESS: Final = "shared@example.com"
"""The address of all customers of the third group."""
_AUTHOR: Final = Author("benchmark")
_EVERYBODY: Final = "everybody, in no order"
_TIMES = 9


class Walk(NamedTuple):
    """One walk through a whole listing."""

    ids: list[int]
    pages: int
    units: float
    seconds: float


def new_customer(group_id: int, number: int) -> NewCustomer:
    """Return a customer of a fixed size, so that all pages of a hundred have the same size."""
    name = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=8))
    return {
        "first_name": name.title(),
        "last_name": name[::-1].title(),
        "email": f"{name}.{number:08d}@example.com",
        "group_id": group_id,
        "age": random.randint(10, 99),
    }


def fill(store: CustomerStore, group_id: int, size: int) -> set[int]:
    """Create a group, and return its ids."""
    ids: set[int] = set()
    for start in range(0, size, 100):
        rows = [new_customer(group_id, number) for number in range(start, min(start + 100, size))]
        ids |= {customer["id"] for customer in store.create(rows, _AUTHOR)}
        if sys.stderr.isatty():
            print(f"\r{len(ids):,} of {size:,} customers", end="", file=sys.stderr)
    return ids


def walk(read: Callable[[str | None], Page], meter: Meter) -> Walk:
    """Read a whole listing, page by page. `read` gets the position of each page."""
    ids: list[int] = []
    pages, position, started = 0, None, time.perf_counter()
    meter.take()
    while True:
        page = read(position)
        ids += [customer["id"] for customer in page.customers]
        pages, position = pages + 1, page.next_position
        if position is None:
            return Walk(ids, pages, meter.take()[1], time.perf_counter() - started)


def write_meanwhile(store: CustomerStore, stop: threading.Event) -> None:
    """Create, move and delete customers of the large group, and leave it as it was."""
    number = 0
    while not stop.is_set():
        number += 1
        created = store.create([new_customer(LARGE, number) for _ in range(10)], _AUTHOR)
        for customer in created:
            store.update(customer["id"], {"first_name": "Moved", "age": None}, None, _AUTHOR)
            try:
                store.delete(customer["id"], None, _AUTHOR)
            except NotFoundError:
                sys.exit("a customer that was just created is missing")


class Cost(NamedTuple):
    """What a page costs."""

    requests: int
    units: float
    """Read units."""
    milliseconds: float
    """The median, on this machine."""


def page_cost(read: Callable[[], Page], meter: Meter, size: int = 100) -> Cost:
    """Read a page with this many customers a few times."""
    milliseconds = []
    for _ in range(_TIMES):
        meter.take()
        started = time.perf_counter()
        page = read()
        milliseconds.append((time.perf_counter() - started) * 1000)
        if len(page.customers) != size:
            sys.exit(f"a page has {len(page.customers)} customers, not {size}")
        requests, units = meter.take()
    return Cost(requests, units, statistics.median(milliseconds))


def pages_table(costs: Mapping[tuple[int, str], Cost], large: int) -> str:
    """Return a table of what a page costs in both groups."""
    rows = []
    for order in dict.fromkeys(order for _, order in costs):
        small, big = costs[SMALL, order], costs[LARGE, order]
        rows.append((order, *_figures(small), *_figures(big)))
    names = ("read units", "ms")
    return table(
        ("a page of 100, sorted by", "group of 100: requests", *names, f"group of {large:,}: requests", *names), rows
    )


def _figures(cost: Cost) -> tuple[str, str, str]:
    return str(cost.requests), str(cost.units), f"{cost.milliseconds:.1f}"


def found_table(costs: Mapping[str, Cost], size: int) -> str:
    """Return a table of what it costs to find customers in the whole table."""
    head = (f"found in a table of {size:,}", "requests", "read units", "ms")
    return table(head, [(name, *_figures(cost)) for name, cost in costs.items()])


def _thousand(pages: PageStore, sort: str, after: str | None) -> Page:
    return pages.group(LARGE, sort, descending=False, limit=1000, after=after)


def plot(costs: Mapping[tuple[int, str], Cost], large: int) -> str:
    """Draw the read units of a page by the size of its group."""
    drawn = [
        Bar(f"{order}, group of {size:,}", costs[group_id, order].units, ours=group_id == LARGE)
        for order in dict.fromkeys(order for _, order in costs)
        for group_id, size in ((SMALL, 100), (LARGE, large))
    ]
    return bars("A page of 100 by the size of its group, read units", drawn, ".1f")


def main() -> int:
    """Write the results down. Return 1 if a page's cost depends on its group, or a walk is not complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=100_000, help="customers in the large group")
    large = parser.parse_args().large
    with running_engine() as (endpoint, _):
        return measure(endpoint, large)


def measure(endpoint: str, large: int) -> int:
    """Measure on an empty engine, and return the exit code."""
    client, writer = (
        boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 (placeholders that the engine does not check)
        )
        for _ in range(2)
    )
    store, pages, meter = CustomerStore(client, "CustomersTable"), PageStore(client, "CustomersTable"), Meter(client)
    fill(store, SMALL, 100)
    started = time.perf_counter()
    there_throughout = fill(store, LARGE, large)
    one = pages.group(LARGE, "id", descending=False, limit=1, after=None).customers[0]["email"]
    store.create([{**new_customer(SHARED, number), "email": _ADDRESS} for number in range(100)], _AUTHOR)
    written = f"{large:,} customers written in {time.perf_counter() - started:.0f} s"
    costs = {
        (group_id, f"{sort} {'desc' if descending else 'asc'}"): page_cost(
            partial(pages.group, group_id, sort, descending=descending, limit=100, after=None), meter
        )
        for sort in SORT_FIELDS
        for descending in (False, True)
        for group_id in (SMALL, LARGE)
    }
    orders = {order for _, order in costs}
    found = {
        "one customer by `email`": page_cost(partial(pages.with_email, one, limit=100, after=None), meter, 1),
        "100 customers by `email`": page_cost(partial(pages.with_email, _ADDRESS, limit=100, after=None), meter),
        f"100 of the group of {large:,}, by `prefix`": page_cost(
            partial(pages.group, LARGE, "last_name", descending=False, limit=100, after=None, prefix="a"), meter
        ),
    }
    alike = all(costs[SMALL, order][:2] == costs[LARGE, order][:2] for order in orders)
    stop = threading.Event()
    writing = threading.Thread(target=write_meanwhile, args=(CustomerStore(writer, "CustomersTable"), stop))
    writing.start()
    try:
        walks = {sort: walk(partial(_thousand, pages, sort), meter) for sort in SORT_FIELDS}
        walks[_EVERYBODY] = walk(lambda position: pages.everybody(limit=1000, after=position), meter)
    finally:
        stop.set()
        writing.join()
    walked, complete = walks_table(walks, there_throughout)
    text = "\n\n".join([written, pages_table(costs, large), found_table(found, large + 200), walked])
    print(f"\n{text}")
    replace_part(ROOT / "docs" / "performance.md", "pages", text)
    (ROOT / "docs" / "pages.svg").write_text(plot(costs, large), encoding="utf-8")
    return 0 if alike and complete else 1


def walks_table(walks: Mapping[str, Walk], there_throughout: AbstractSet[int]) -> tuple[str, bool]:
    """Return a table of the walks, and whether each saw every customer once."""
    rows, complete = [], True
    for sort, done in walks.items():
        seen = [customer_id for customer_id in done.ids if customer_id in there_throughout]
        missing, twice = len(there_throughout - set(seen)), len(seen) - len(set(seen))
        complete &= not missing and not twice
        rows.append((sort, str(done.pages), str(missing), str(twice), f"{done.units:,.1f}", f"{done.seconds:.1f}"))
    head = f"a walk through {len(there_throughout):,}, others writing, sorted by"
    return table((head, "pages", "missing", "twice", "read units", "s"), rows), complete


if __name__ == "__main__":
    sys.exit(main())
