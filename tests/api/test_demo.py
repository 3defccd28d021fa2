"""`make run ARGS=--demo`: made-up customers, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.demo import GROUPS, create_demo
from tests.api.support import wait_until, walk
from tests.conftest import running_service

if TYPE_CHECKING:
    from pathlib import Path


def test_five_groups_have_a_hundred_each_however_often_it_starts(tmp_path: Path) -> None:
    with running_service(tmp_path, "--in-memory", "--demo") as service, service.client() as client:
        assert create_demo(service.url, service.data / "token") == 0
        for group in range(1, GROUPS + 1):
            wait_until(lambda group=group: len(walk(client, group)) == 100)  # type: ignore[misc]
        found = client.get("/api/customers", params={"email": "Amina.Abebe@example.com"}).json()["customers"]
        assert [customer["external_id"] for customer in found] == ["demo-1"]
