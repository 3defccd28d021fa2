"""Changes of customers: from the table's stream to the history, in order."""

from __future__ import annotations

import os
from itertools import accumulate
from typing import Any, Final

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.errors import StoreUnavailableError
from customers.logs import logger
from customers.store.history import HistoryStore, entry_of, steps

store = HistoryStore(dynamodb.client(), os.environ["HISTORY_TABLE"])

DAYS: Final = int(os.environ["HISTORY_DAYS"])


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Keep a batch up to the first change that the table refuses. From there on, changes are delivered again."""
    records = [(record, entry) for record in event["Records"] if (entry := entry_of(record))]
    parts = list(steps([entry for _, entry in records]))
    refused = None
    kept = 0
    for step, end in zip(parts, accumulate(map(len, parts)), strict=True):
        try:
            store.keep(step, DAYS)
        except StoreUnavailableError:
            refused = records[kept][0]["dynamodb"]["SequenceNumber"]
            logger.error("history refused", sequence_number=refused)
            break
        kept = end
    if kept:
        logger.info("history kept", changes=kept)
    return {"batchItemFailures": [] if refused is None else [{"itemIdentifier": refused}]}


customers.aws.cold_start.over()
