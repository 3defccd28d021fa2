"""Changes of customers: from the table's stream to the event bus, in order."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

import customers.aws.cold_start
from customers.aws import clients
from customers.logs import count, logger
from customers.store.items import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

bus = clients.client("events")

EVENT_BUS: Final = os.environ["EVENT_BUS"]
WITH_PERSONAL_DATA: Final = os.environ["EVENTS_WITH_PERSONAL_DATA"] == "true"
_ENTRIES: Final = 10
"""In one PutEvents, its limit."""
_KEPT_BY_THE_SERVICE: Final = frozenset({"updated_at", "version"})


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Publish a batch up to the first change that the bus refuses. From there on, changes are delivered again."""
    published: Counter[str] = Counter()
    refused = None
    changes = ((record, Change.of_record(record)) for record in event["Records"])
    visible = [(record, change) for record, change in changes if change.kind]
    for some in batched(visible, _ENTRIES, strict=False):
        taken, error = _publish(some)
        published.update(str(change.kind) for _, change in some[:taken])
        if taken < len(some):
            refused = some[taken][0]["dynamodb"]["SequenceNumber"]
            logger.error("changes refused", sequence_number=refused, error=error)
            break
    values = {f"Customers{kind.capitalize()}": number for kind, number in published.items()}
    if values:
        logger.info("changes published", **count(values))
    return {"batchItemFailures": [] if refused is None else [{"itemIdentifier": refused}]}


def _publish(changes: Sequence[tuple[dict[str, Any], Change]]) -> tuple[int, str | None]:
    """Put up to ten changes on the bus; return how many it accepted before the first that it refused, and why."""
    try:
        answer = bus.put_events(Entries=[_entry(record, change) for record, change in changes])
    except (BotoCoreError, ClientError) as error:
        return 0, type(error).__name__
    for index, entry in enumerate(answer["Entries"]):
        if "ErrorCode" in entry:
            return index, entry["ErrorCode"]
    return len(changes), None


def _entry(record: dict[str, Any], change: Change) -> PutEventsRequestEntryTypeDef:
    before, after = change.before, change.after
    customer = after or before
    assert customer is not None  # noqa: S101 (for the type checker)
    # The stream's own id, the same in every delivery.
    detail = {"event_id": record["eventID"], "customer_id": customer["id"]}
    detail |= {"group_id": customer["group_id"], "version": change.version}
    changed = {}
    if before and after:
        changed = {name: value for name, value in before.items() if after[name] != value}  # type: ignore[literal-required]
        detail["changed"] = sorted(changed.keys() - _KEPT_BY_THE_SERVICE)
    if WITH_PERSONAL_DATA:
        detail["customer"] = customer
        if changed:
            detail["previous"] = changed
    return {
        "EventBusName": EVENT_BUS,
        "Source": "customers",
        "DetailType": f"Customer {change.kind}",
        "Time": record["dynamodb"]["ApproximateCreationDateTime"],
        "Detail": json.dumps(detail, ensure_ascii=False),
    }


customers.aws.cold_start.over()
