"""Decides by the text of the token, and reports how often it was asked."""

from __future__ import annotations

from typing import Any

_asked = 0


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Decide about a token."""
    global _asked  # noqa: PLW0603 - a process lives on between events, and this is what is tested
    _asked += 1
    token: str = event["authorizationToken"]
    if token == "unknown":
        raise Exception("Unauthorized")  # noqa: TRY002 - the only form that API Gateway understands
    if token == "broken":
        raise ValueError("Unauthorized, perhaps")
    if token == "malformed":
        return {"principalId": "x", "policyDocument": {"Statement": [{"Effect": "Perhaps"}]}}
    stage = event["methodArn"].split("/")[0] + "/test"
    statements = [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [f"{stage}/GET/things/*"]}]
    if token == "almost":
        statements.append({"Effect": "Deny", "Action": "execute-api:*", "Resource": [f"{stage}/*/things/secre?"]})
    if token == "other":
        statements = [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [f"{stage}/POST/*"]}]
    return {
        "principalId": token,
        "policyDocument": {"Version": "2012-10-17", "Statement": statements},
        "context": {"asked": _asked, "admin": True},
    }
