"""Does what the request's body says. Without a body, returns the event."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import shared  # type: ignore[import-not-found]  # in the layer, on the path only where the function runs


def lambda_handler(event: dict[str, Any], context: Any) -> object:
    """Handle a request."""
    body = event["body"] if not event["isBase64Encoded"] else None
    command = json.loads(body) if body and body.startswith("{") else {}
    match command.get("do"):
        case "raise":
            raise ValueError(command["message"])
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "allocate":
            return {"statusCode": 200, "body": str(len(bytearray(command["bytes"])))}
        case "return":
            return command["value"]
        case "fill":
            return {"statusCode": 200, "body": "x" * command["length"]}
        case "print":
            print(command["text"])  # noqa: T201 - the point
            return {"statusCode": 204}
    seen = {
        "event": event,
        "greeting": shared.GREETING,
        "environment": dict(os.environ),
        "path": sys.path,
        "pid": os.getpid(),
        "aws_request_id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
    }
    return {"statusCode": 200, "body": json.dumps(seen)}
