"""What a page costs in a small group and in a large one, and whether a walk through the large one is complete.

Run as `make bench-pages`, or `python -m tools.benchmarks.pages --large 100000`. Everything runs on the real engine,
with the store's own code. The figures are the engine's consumed capacity and the requests counted at the client.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import boto3

from customers.errors import NotFoundError
from customers.fields import SORT_FIELDS
from customers.store.customers import CustomerStore
from customers.store.pages import PageStore
from tools.benchmarks.engine import Meter, running_engine

if TYPE_CHECKING:
    from customers.customer import NewCustomer

SMALL, LARGE = 1, 2


class Walk(NamedTuple):
    """One walk through a whole group."""

    ids: list[int]
    pages: int
    units: float
    seconds: float


def new_customer(group_id: int, number: int) -> NewCustomer:
    """Make a customer of a fixed size, so that every page of a hundred has as many bytes as any other."""
    name = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=8))
    return {
        "first_name": name.title(),
        "last_name": name[::-1].title(),
        "email": f"{name}.{number:08d}@example.com",
        "group_id": group_id,
        "age": random.randint(10, 99),
    }


def fill(store: CustomerStore, group_id: int, size: int) -> set[int]:
    """Create a group, and give its ids."""
    ids: set[int] = set()
    for start in range(0, size, 100):
        rows = [new_customer(group_id, number) for number in range(start, min(start + 100, size))]
        ids |= {customer["id"] for customer in store.create(rows)}
        if sys.stderr.isatty():
            print(f"\r{len(ids):,} of {size:,} customers", end="", file=sys.stderr)
    return ids


def walk(store: PageStore, meter: Meter, group_id: int, sort: str) -> Walk:
    """Read a whole group, in pages of a thousand."""
    ids: list[int] = []
    pages, position, started = 0, None, time.perf_counter()
    meter.take()
    while True:
        page = store.group(group_id, sort, descending=False, limit=1000, after=position)
        ids += [customer["id"] for customer in page.customers]
        pages, position = pages + 1, page.next_position
        if position is None:
            return Walk(ids, pages, meter.take()[1], time.perf_counter() - started)


def write_meanwhile(store: CustomerStore, stop: threading.Event) -> None:
    """Create, move and delete customers of the large group, and leave it as it was."""
    number = 0
    while not stop.is_set():
        number += 1
        created = store.create([new_customer(LARGE, number) for _ in range(10)])
        for customer in created:
            store.update(customer["id"], {"first_name": "Moved", "age": None}, None)
            try:
                store.delete(customer["id"], None)
            except NotFoundError:
                sys.exit("a customer that was just created is not there")


def main() -> int:
    """Print both tables; exit with 1 if a page's cost depends on its group, or a walk is not complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=100_000, help="customers in the large group")
    large = parser.parse_args().large
    with running_engine() as (endpoint, _):
        return measure(endpoint, large)


def measure(endpoint: str, large: int) -> int:
    """Measure on an empty engine. Gives the exit code."""
    client, writer = (
        boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 (words that the engine does not check)
        )
        for _ in range(2)
    )
    store, pages, meter = CustomerStore(client, "CustomersTable"), PageStore(client, "CustomersTable"), Meter(client)
    fill(store, SMALL, 100)
    started = time.perf_counter()
    there_throughout = fill(store, LARGE, large)
    print(f"\n{large:,} customers written in {time.perf_counter() - started:.0f} s\n")

    wrong = False
    print("| a page of 100, sorted by | group of 100: requests | read units | ", end="")
    print(f"group of {large:,}: requests | read units |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for sort in SORT_FIELDS:
        for descending in (False, True):
            costs = []
            for group_id in (SMALL, LARGE):
                meter.take()
                pages.group(group_id, sort, descending=descending, limit=100, after=None)
                costs.append(meter.take())
            (small_requests, small_units), (large_requests, large_units) = costs
            wrong |= costs[0] != costs[1] or small_requests != 1
            order = "desc" if descending else "asc"
            print(f"| {sort} {order} | {small_requests} | {small_units} | {large_requests} | {large_units} |")

    stop = threading.Event()
    writing = threading.Thread(target=write_meanwhile, args=(CustomerStore(writer, "CustomersTable"), stop))
    writing.start()
    try:
        print(f"\n| a walk through {large:,}, others writing, sorted by | pages | missing | twice | read units | s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for sort in SORT_FIELDS:
            done = walk(pages, meter, LARGE, sort)
            seen = [customer_id for customer_id in done.ids if customer_id in there_throughout]
            missing, twice = len(there_throughout - set(seen)), len(seen) - len(set(seen))
            wrong |= bool(missing or twice)
            print(f"| {sort} | {done.pages} | {missing} | {twice} | {done.units:,.1f} | {done.seconds:.1f} |")
    finally:
        stop.set()
        writing.join()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
