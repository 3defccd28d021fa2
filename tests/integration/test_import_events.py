"""The functions that take events can read their event files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.import_cloud import Context

if TYPE_CHECKING:
    from tests.integration.import_cloud import ImportCloud

pytestmark = pytest.mark.cloud

EVENTS = Path(__file__).parents[2] / "events"
FUNCTIONS = {
    "plan_import": "PlanImport",
    "import_customers": "ImportCustomers",
    "close_import": "CloseImport",
    "publish_changes": "PublishChanges",
}
FILES = [path for folder in FUNCTIONS for path in sorted((EVENTS / folder).glob("*.json"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_event_files_are_taken(path: Path, cloud: ImportCloud) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    app = cloud.apps[FUNCTIONS[path.parent.name]]
    if "import_id" in event["Records"][0].get("body", ""):
        # A chunk belongs to an import that the plan began.
        cloud.apps["ImportCustomers"].imports.store.begin("0f" * 32, {"bucket": "b", "key": "imports/k"})
    answer = app.lambda_handler(event, Context(900_000))
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    assert failed == ([event["Records"][0]["messageId"]] if path.stem == "message_unreadable" else [])
