"""What the other import functions could not process: book it, so that no import hangs."""

from __future__ import annotations

import json
import os
from typing import Any

import customers.aws.cold_start
from customers.aws.queues import consumer
from customers.imports.bucket import FileDelivery
from customers.imports.chunks import Chunk
from customers.imports.run import Imports
from customers.store.rows import RowStore

imports = Imports()
store = RowStore(imports.dynamodb, os.environ["CUSTOMERS_TABLE"])


@consumer
def lambda_handler(message: dict[str, Any], _context: object) -> None:
    """Book a chunk's rows as rejected, or a file as broken where its plan stopped."""
    body = json.loads(message["body"])
    if "import_id" in body:
        imports.give_up(Chunk.of_message(message["body"]), store)
        return
    for record in imports.records_in(body):
        file = FileDelivery.of_record(record)
        known = imports.begin_file(file)
        if known.finished:
            continue
        if known.planned is None:
            imports.stop(known, "not_processed", "The rest could not be processed. Import it again.")
        imports.finish_if_done(file.import_id)


customers.aws.cold_start.over()
