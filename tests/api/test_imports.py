"""`customers import` and the import folder, on the whole laptop cloud."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import boto3

from tests.api.support import customer_body, group_path, wait_until, walk
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.conftest import Service


def _import(service: Service, file: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [ROOT / "customers", "import", "--json", *options, file],
        env={**os.environ, "DATA_DIR": str(service.data)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def _csv(group: int, number: int, *rows: str) -> str:
    good = [f"John,Doe,john.{index}@example.com,{group},{index}" for index in range(number)]
    return "\n".join(["first_name,last_name,email,group_id,age", *good, *rows]) + "\n"


def _counts(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["created"], summary["already_there"], summary["rejected"]


def test_a_file_is_imported_once_and_its_bad_rows_mended(
    service: Service, client: httpx.Client, group: int, tmp_path: Path
) -> None:
    file = tmp_path / f"{group}.csv"
    file.write_text(_csv(group, 100, f",Doe,nobody,{group},200"))
    code, summary = _import(service, file)
    assert (code, _counts(summary)) == (1, (100, 0, 1))
    assert len(walk(client, group)) == 100

    code, summary = _import(service, file)
    assert (code, _counts(summary)) == (1, (0, 100, 1))
    assert len(walk(client, group)) == 100

    rejected = service.data / "import-bucket" / summary["rejected_rows"]
    wait_until(rejected.exists)
    (row,) = csv.DictReader(io.StringIO(rejected.read_text("utf-8-sig")))
    assert row["import_row"] == "101"
    for field in ("first_name", "email", "age"):
        assert field in row["import_errors"]
    mended = tmp_path / f"{group}-mended.csv"
    mended.write_text(
        rejected.read_text().replace(",,Doe,nobody,", ",Jane,Doe,jane@example.com,").replace(",200", ",20")
    )
    code, summary = _import(service, mended)
    assert (code, _counts(summary)) == (0, (1, 0, 0))
    assert len(walk(client, group)) == 101


def test_a_file_dropped_into_the_folder_is_imported_and_its_report_appears(
    service: Service, client: httpx.Client, group: int
) -> None:
    folder = service.data / "import-bucket"
    (folder / "imports" / f"{group}.csv").write_text(_csv(group, 5))
    reports = folder / "reports" / f"{group}.csv"
    wait_until(lambda: reports.is_dir() and any(reports.glob("*/summary.json")))
    (summary,) = reports.glob("*/summary.json")
    assert _counts(json.loads(summary.read_text())) == (5, 0, 0)
    assert len(walk(client, group)) == 5


def test_the_caller_says_what_the_columns_are_and_looks_at_the_file_first(
    service: Service, client: httpx.Client, group: int, tmp_path: Path
) -> None:
    file = tmp_path / f"{group}\nsheet.csv"
    rows = [f"Ann, Ash, ann.{index}@example.com, {group}, x, gold" for index in range(20)]
    text = "\r".join(
        ["sep=,", "First Name,lastName,Mail,Group-ID,Notes,Plän", *rows, ",,,,,", f"Bob,,nobody,{group}", ""]
    )
    file.write_bytes(text.encode())
    options = ("--map", "Mail=email", "--map", "Plän=metadata.plan", "--ignore", "Notes")
    code, summary = _import(service, file)
    assert code == 1
    assert "'Mail'" in summary["broken"]["detail"]
    code, preview = _import(service, file, "--dry-run", *options)
    assert (code, preview["valid"], preview["rejected"]) == (1, 20, 1)
    assert client.get(group_path(group)).status_code == 404, "nothing was written"
    code, summary = _import(service, file, *options)
    assert (code, summary["rows"], *_counts(summary)) == (1, 21, 20, 0, 1)
    assert {one["email"] for one in walk(client, group)} == {f"ann.{index}@example.com" for index in range(20)}


def test_what_is_no_file_of_customers_is_told_so(service: Service, tmp_path: Path, group: int) -> None:
    file = tmp_path / f"{group}.csv"
    file.write_bytes(bytes(range(256)) * 10)
    code, summary = _import(service, file)
    assert (code, summary["status"]) == (1, "failed")
    assert summary["broken"]["code"] == "not_text"


def test_a_message_becomes_a_customer_and_one_that_cannot_be_read_lies_whole_in_the_dead_letters(
    service: Service, client: httpx.Client, group: int
) -> None:
    running = json.loads((service.data / "endpoints.json").read_text())
    sqs = boto3.client(
        "sqs",
        endpoint_url=running["aws"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    queue = running["outputs"]["ImportQueueUrl"]
    unreadable = f"no customer of {group}"
    sqs.send_message(QueueUrl=queue, MessageBody=unreadable)
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(customer_body(group)))
    wait_until(lambda: client.get(group_path(group)).status_code == 200)
    dead_letters = sqs.get_queue_url(QueueName="ImportDeadLetters")["QueueUrl"]
    found: list[str] = []

    def lies_there() -> bool:
        found.extend(message["Body"] for message in sqs.receive_message(QueueUrl=dead_letters).get("Messages", []))
        return unreadable in found

    wait_until(lies_there)
