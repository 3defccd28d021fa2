"""What was acknowledged survives the end of the service, however it ends. And no process of it is left behind."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api.support import (
    COLLECTION,
    SORTS,
    Json,
    any_group,
    assert_problem,
    create,
    customer_body,
    descendants,
    group_path,
    in_order,
    path_of,
    remaining,
    wait_until,
    walk,
)
from tests.conftest import STOP_SECONDS, Service, running_service

if TYPE_CHECKING:
    from pathlib import Path

WRITES = 40


class Writer:
    """Writes until the service dies, and remembers what was acknowledged.

    Each of its threads has its own group, and at most one open call.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.acknowledged: dict[int, Json] = {}
        """By id, as last acknowledged; what was acknowledged as deleted is gone."""
        self.deleted: list[int] = []
        self.on_its_way: dict[int, Json | None] = {}
        """By id: the last change that was sent and not acknowledged; None for a deletion."""
        self.list_groups: set[int] = set()
        """Groups to each of which one list of 10 was sent."""
        self.enough = threading.Semaphore(0)

    def create_and_change(self) -> None:
        group = any_group()
        with self._service.client() as client:
            number = 0
            while True:
                number += 1
                customer = create(client, group, first_name=f"N{number}", age=number % 100)
                self.acknowledged[customer["id"]] = customer
                self.enough.release()
                for change in ({"last_name": f"L{number}"}, {"age": None, "email": f"e{number}@example.com"}):
                    self.on_its_way[customer["id"]] = change
                    response = client.patch(path_of(customer), json=change)
                    assert response.status_code == 200
                    self.acknowledged[customer["id"]] = response.json()
                    del self.on_its_way[customer["id"]]
                    self.enough.release()
                if number % 4 == 0:
                    self.on_its_way[customer["id"]] = None
                    assert client.delete(path_of(customer)).status_code == 200
                    del self.acknowledged[customer["id"]], self.on_its_way[customer["id"]]
                    self.deleted.append(customer["id"])

    def create_lists(self) -> None:
        with self._service.client() as client:
            while True:
                group = any_group()
                self.list_groups.add(group)
                rows = {"customers": [customer_body(group, age=age) for age in range(10)]}
                response = client.post(COLLECTION, params={"size": "list"}, json=rows)
                assert response.status_code == 201
                self.acknowledged |= {customer["id"]: customer for customer in response.json()["customers"]}
                self.enough.release()


def write_until_killed(service: Service, kill: str) -> Writer:
    """Write with several threads, and kill the service in the middle of it."""
    writer = Writer(service)
    with ThreadPoolExecutor(4) as threads:
        running = [
            *(threads.submit(writer.create_and_change) for _ in range(3)),
            threads.submit(writer.create_lists),
        ]
        for _ in range(WRITES):
            assert writer.enough.acquire(timeout=120)
        mine = [process.pid for process in descendants(service.process.pid)]
        if kill == "everything":
            # While the parent is stopped, it cannot start anything again.
            os.kill(service.process.pid, signal.SIGSTOP)
            mine = [process.pid for process in descendants(service.process.pid)]
            for pid in mine:
                os.kill(pid, signal.SIGKILL)
        service.process.kill()
        service.process.wait()
        for thread in running:
            assert isinstance(thread.exception(timeout=50), httpx.TransportError)
    assert len(mine) >= 4
    wait_until(lambda: not remaining(mine))
    return writer


def assert_survived(client: httpx.Client, writer: Writer) -> None:
    found: dict[int, Json] = {}
    for customer_id, acknowledged in writer.acknowledged.items():
        response = client.get(f"/api/customers/{customer_id}")
        change = writer.on_its_way.get(customer_id, {})
        if change is None and response.status_code == 404:
            continue
        assert response.status_code == 200
        customer = found[customer_id] = response.json()
        if change and customer != acknowledged:
            assert customer == {
                **acknowledged,
                **change,
                "version": acknowledged["version"] + 1,
                "updated_at": customer["updated_at"],
            }
        else:
            assert customer == acknowledged
    for customer_id in writer.deleted:
        assert_problem(client.get(f"/api/customers/{customer_id}"), 404)
    for group in {customer["group_id"] for customer in found.values()}:
        # Each customer in an index is in the table, unchanged, and the other way round.
        members = walk(client, group, age="true", limit=1000)
        for member in members:
            assert client.get(path_of(member)).json() == member
        assert {customer["id"] for customer in found.values() if customer["group_id"] == group} <= {
            member["id"] for member in members
        }
        for sort in SORTS:
            assert walk(client, group, sort=sort, age="true", limit=20) == in_order(members, sort, "asc")
    for group in writer.list_groups:
        response = client.get(group_path(group))
        assert response.status_code == 404 or len(response.json()["customers"]) == 10


@pytest.mark.parametrize("kill", ["everything", "the parent alone"])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, kill: str) -> None:
    with running_service(tmp_path) as service:
        writer = write_until_killed(service, kill)
    assert writer.acknowledged
    with running_service(tmp_path) as again:
        assert again.token == service.token
        with again.client() as client:
            assert_survived(client, writer)
            customer = create(client, any_group())
            assert client.get(path_of(customer)).json() == customer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_time_and_loses_nothing(tmp_path: Path, group: int, number: signal.Signals) -> None:
    with running_service(tmp_path) as service, service.client() as client:
        customer = create(client, group)
        others = [create(client, group) for _ in range(2)]
        cursor = client.get(group_path(group), params={"limit": "1"}).json()["next_cursor"]
        mine = [process.pid for process in descendants(service.process.pid)]
        assert len(mine) >= 3
        service.process.send_signal(number)
        assert service.process.wait(STOP_SECONDS) == 0
        assert remaining(mine) == []
        with pytest.raises(httpx.TransportError):
            client.get(path_of(customer))
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    with running_service(tmp_path) as again, again.client() as client:
        assert again.token == service.token
        expected = in_order([customer, *others], "id", "asc")
        assert walk(client, group, age="true") == expected
        # A cursor belongs to the data, not to the process that made it.
        page = client.get(group_path(group), params={"cursor": cursor, "age": "true"})
        assert page.json()["customers"] == expected[1:]


def test_a_signal_ends_everything_in_time_even_while_calls_hang(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, service.client() as client:
        customer = create(client, any_group())
        mine = descendants(service.process.pid)
        (engine,) = (process.pid for process in mine if "dynoxide" in process.command)
        os.kill(engine, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            hanging = threads.submit(client.get, path_of(customer))
            # This is the function's process: the call is running now.
            wait_until(lambda: len(descendants(service.process.pid)) > len(mine))
            mine = descendants(service.process.pid)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(STOP_SECONDS) == 0
            assert hanging.exception(timeout=60) is None or isinstance(hanging.exception(), httpx.TransportError)
        assert remaining(process.pid for process in mine) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_the_end_cuts_off_goes_on_after_the_restart(tmp_path: Path, number: signal.Signals) -> None:
    group, data = any_group(), tmp_path / "data"
    # Half of the rows are bad: those that were rejected before the restart must be in the report too.
    good = [f"John,Doe,john.{index}@example.com,{group},cut-{index}\nX,,,,\n" for index in range(4000)]
    reports = data / "import-bucket" / "reports" / "cut.csv"
    with running_service(data) as service:
        (tmp_path / "cut.csv").write_text("first_name,last_name,email,group_id,external_id\n" + "".join(good))
        (tmp_path / "cut.csv").rename(data / "import-bucket" / "imports" / "cut.csv")
        with service.client() as client:
            wait_until(lambda: client.get(group_path(group)).status_code == 200)
            changed = path_of(client.get(group_path(group), params={"limit": 1}).json()["customers"][0])
            client.patch(changed, json={"last_name": "Since"}).raise_for_status()
        service.process.send_signal(number)
        service.process.wait(STOP_SECONDS)
    assert not list(reports.glob("*/summary.json")), "it was over before the end"
    with running_service(data) as service, service.client() as client:
        wait_until(lambda: any(reports.glob("*/rejected.csv")) and any(reports.glob("*/summary.json")), 120)
        assert len(walk(client, group)) == 4000
        # The file was put there before the change, and is read again after it.
        assert client.get(changed).json()["last_name"] == "Since"
    told = _summary(reports)
    assert (told["created"] + told["unchanged"], told["superseded"], told["rejected"]) == (3999, 1, 4000)
    (rejected,) = reports.glob("*/rejected.csv")
    assert rejected.read_bytes().count(b"\r\n") == 4001
    with running_service(data):
        (data / "import-bucket" / "imports" / "next.csv").write_text("first_name,last_name,email,group_id\n")
        following = data / "import-bucket" / "reports" / "next.csv"
        wait_until(lambda: any(following.glob("*/summary.json")))
    assert _summary(reports) == told, "what has its report is not imported again"


def _summary(reports: Path) -> dict[str, Any]:
    (summary,) = reports.glob("*/summary.json")
    value: dict[str, Any] = json.loads(summary.read_text())
    return value
