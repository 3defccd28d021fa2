"""The request collection: every example that succeeds, in Postman's format (v2.1), which most API clients can import.

https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html
"""

from __future__ import annotations

import http
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tools.contract.facts import Example, Facts, Operation
    from tools.contract.words import Words

type Json = dict[str, Any]

# The first requests create what the others need.
_ORDER: Final = ("POST", "PUT", "GET", "PATCH", "DELETE")
# Each response stores what the next request needs.
_REMEMBER: Final = (
    "const etag = pm.response.headers.get('ETag');",
    "if (etag) pm.collectionVariables.set('etag', etag);",
    "if (pm.response.code === 201 && etag) pm.collectionVariables.set('customer_id', pm.response.json().id);",
)


def collection(facts: Facts, words: Words) -> Json:
    """Return the collection. Run in order, all requests succeed. The customers of the lists are left behind."""
    operations = sorted(facts.operations, key=lambda operation: (_ORDER.index(operation.method), operation.path))
    return {
        "info": {
            "name": words("title"),
            "description": words("summary"),
            "version": facts.version,
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "variable": [
            {"key": "base_url", "value": "http://127.0.0.1:3000"},
            {"key": "token", "value": ""},
            {"key": "customer_id", "value": ""},
            {"key": "group_id", "value": "1"},
            {"key": "external_id", "value": "shop-42"},
            {"key": "etag", "value": ""},
        ],
        "item": [
            {
                "name": words("operations", operation.id, "summary"),
                "description": words("operations", operation.id, "description"),
                "item": [
                    _item(operation, example, words)
                    for example in operation.examples
                    if example.answer.status < http.HTTPStatus.BAD_REQUEST
                ],
            }
            for operation in operations
        ],
    }


def _item(operation: Operation, example: Example, words: Words) -> Json:
    path = re.sub(r"\{(\w+)\}", r"{{\1}}", operation.path)
    query = [{"key": key, "value": json.dumps(value).strip('"')} for key, value in example.query.items()]
    text = "&".join(f"{parameter['key']}={parameter['value']}" for parameter in query)
    status = int(example.answer.status)
    # A PUT creates only the first time.
    statuses = [200, 201] if operation.method == "PUT" else [status]
    check = f"pm.test('answers {status}', () => pm.expect(pm.response.code).to.be.oneOf({statuses}));"
    # A tag comes from the previous response.
    headers = [{"key": key, "value": "{{etag}}"} for key in example.headers]
    request: Json = {
        "method": operation.method,
        "header": headers,
        "url": {
            "raw": "{{base_url}}" + path + (f"?{text}" if text else ""),
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "query": query,
        },
    }
    if example.body is not None:
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(example.body, indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
        request["header"] = [*headers, {"key": "Content-Type", "value": operation.asked.media_types[0]}]
    return {
        "name": words("operations", operation.id, "examples", example.name, "summary"),
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": [check, *_REMEMBER]}}],
        "request": request,
    }
