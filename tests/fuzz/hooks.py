"""Tells Schemathesis what an OpenAPI document cannot say. A failure is dropped if the contract demands it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, Response
    from schemathesis.core.failures import Failure


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Send `size=list` with a list. A schema cannot say which body belongs to which size."""
    if case.operation.definition.raw.get("operationId") == "createCustomers" and isinstance(case.body, dict):
        query = case.query or {}
        # Not a set: a wrong value may be a list, which cannot be looked up in a set.
        if query.get("size", "one") in ("one", "list"):
            case.query = {**query, "size": "list" if "customers" in case.body else "one"}


@schemathesis.hook
def filter_failure(_context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Drop only the failures that the contract demands."""
    match failure:
        case UnsupportedMethodResponse():
            # The gateway cannot tell an unknown method from an unknown path: 404 for both.
            return not (response.status_code == 404 and response.json()["type"] == "/problems/not-found")
        case AcceptedNegativeData():
            # With `on_error=keep`, each bad row is refused on its own.
            return not (response.status_code == 207 and any("errors" in row for row in response.json()["results"]))
        case RejectedPositiveData():
            errors = response.json().get("errors", [])
            return not (errors and all(_is_demanded(error, case.body) for error in errors))
        case _:
            return True


DEMANDED: Final = frozenset(
    {
        "invalid_tag",
        "invalid_cursor",
        "invalid_email",
        "invalid_external_id",
        "not_together",
        "does_not_match_path",
        "too_short",
        "control_character",
    }
)
"""What a schema cannot say: cursors cannot be made up, addresses cannot be guessed, some parameters exclude others."""


def _is_demanded(error: dict[str, str], body: object) -> bool:
    if error["code"] in DEMANDED and (error["code"] == "does_not_match_path" or "pointer" not in error):
        return True
    # 1.0 is an integer in JSON Schema, but not in the contract.
    value = _at(error["pointer"], body) if "pointer" in error else None
    return error["code"] == "wrong_type" and isinstance(value, float) and value.is_integer()


def _at(pointer: str, body: Any) -> Any:
    for step in pointer.split("/")[1:]:
        body = body[int(step)] if isinstance(body, list) else body[unquote(step)]
    return body
