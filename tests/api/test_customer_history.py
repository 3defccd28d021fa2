"""A customer's history over HTTP: who changed what. After a deletion, it shows only the deletion."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.conftest import ROOT

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Service

JANE = {"first_name": "Jane", "last_name": "Doe", "email": "jane.doe@example.com", "group_id": 1}


def history_of(client: httpx.Client, customer_id: int, newest: int) -> list[dict[str, Any]]:
    """Return a customer's history once it shows a version. It follows the writes after a moment."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        entries: list[dict[str, Any]] = client.get(f"/api/customers/{customer_id}/history").json()["history"]
        if entries and entries[0]["version"] >= newest:
            return entries
        time.sleep(0.1)
    raise TimeoutError(f"the history of {customer_id} does not show version {newest}")


def test_each_write_is_told_with_its_request_and_after_the_deletion_that_alone(client: httpx.Client) -> None:
    created = client.post("/api/customers/", json=JANE)
    path = f"/api/customers/{created.json()['id']}"
    writes = [
        created,
        client.patch(path, json={"last_name": "Miller", "metadata": {"tier": "gold"}}),
        client.patch(path, json={"age": 42, "metadata": {"tier": None}}),
    ]
    entries = history_of(client, created.json()["id"], 3)
    assert [(entry["version"], entry["action"]) for entry in entries] == [
        (3, "updated"),
        (2, "updated"),
        (1, "created"),
    ]
    assert [entry["request_id"] for entry in entries] == [write.headers["X-Request-Id"] for write in reversed(writes)]
    assert [entry["at"] for entry in entries] == [write.json()["updated_at"] for write in reversed(writes)]
    assert entries[1]["changes"] == {
        "last_name": {"from": "Doe", "to": "Miller"},
        "metadata": {"from": {}, "to": {"tier": "gold"}},
    }
    (by,) = {entry["by"]["token_id"] for entry in entries}
    assert len(by) == 16
    deleted = client.delete(path)
    (entry,) = history_of(client, created.json()["id"], 4)
    assert entry["request_id"] == deleted.headers["X-Request-Id"]
    assert (entry["action"], entry["by"], entry["changes"]) == ("deleted", {"token_id": by}, {})
    assert client.head(f"{path}/history").status_code == 200


def test_every_way_to_write_says_who_it_was(client: httpx.Client) -> None:
    external = "/api/customers/external/history-of-every-way"
    answers = [
        client.post("/api/customers/", json=JANE, headers={"Idempotency-Key": "history-of-every-way"}),
        client.post("/api/customers/?size=list", json={"customers": [JANE]}),
        client.post("/api/customers/?size=list&on_error=keep", json={"customers": [JANE]}),
        client.put(external, json=JANE),
        client.put(external, json={**JANE, "age": 3}),
    ]
    for answer in answers:
        body = answer.json()
        customer = body["customers"][0] if "customers" in body else body
        entries = history_of(client, customer["id"], customer["version"])
        (entry,) = (entry for entry in entries if entry["version"] == customer["version"])
        assert entry["request_id"] == answer.headers["X-Request-Id"]
        assert len(entry["by"]["token_id"]) == 16


def test_an_external_id_may_be_called_history(client: httpx.Client) -> None:
    created = client.put("/api/customers/external/history", json=JANE)
    assert client.get("/api/customers/external/history").json() == created.json()
    assert client.delete(f"/api/customers/{created.json()['id']}").status_code == 200


def customers(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(service.data)}
    return subprocess.run(
        [ROOT / "customers", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_commands_show_what_a_token_did_and_what_a_customers_changes_were(
    client: httpx.Client, service: Service
) -> None:
    created = client.post("/api/customers/", json=JANE).json()
    name = str(created["id"])
    client.patch(f"/api/customers/{name}", json={"last_name": "[red]Mil\u202eler", "age": 42})
    entries = history_of(client, created["id"], 2)
    done = customers(service, "history", name, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, entries)
    assert customers(service, "history", f"C-{name}", "--json").stdout == done.stdout
    shown = customers(service, "history", name).stdout
    assert r'last_name: "Doe" → "[red]Mil\u202eler"' in shown
    token_id = entries[0]["by"]["token_id"]
    made = json.loads(customers(service, "audit", "--token", token_id, "--since", "1h", "--json").stdout)
    mine = [change for change in made if change["customer_id"] == created["id"]]
    assert mine == [
        {"customer_id": created["id"], "version": entry["version"], "at": entry["at"], "action": entry["action"]}
        for entry in reversed(entries)
    ]
    assert [change["at"] for change in made] == sorted(change["at"] for change in made)
    unknown = customers(service, "audit", "--token", "0" * 16)
    assert (unknown.returncode, f"There is no token {'0' * 16}." in unknown.stderr) == (1, True)
    nobody = customers(service, "history", "1")
    assert (nobody.returncode, nobody.stderr) == (
        1,
        "Error: There is no history of customer 1. Is the id right?\n",
    )
