"""Rules for the gateway: what it keeps away from the functions, which cost money each time they run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from customers.tokens import new_token
from tests.unit.template.reading import events, resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template

_TOKENS: Final = [new_token() for _ in range(3)]
_TAKEN: Final = [prefix + token for token in _TOKENS for prefix in ("", "Bearer ", "bearer ", "BEARER  ")]
_REFUSED: Final = ["", "Bearer", "Bearer x", "Basic " + _TOKENS[0], _TOKENS[0][:-1], _TOKENS[0] + "0", "x" + _TOKENS[0]]


def the_gateway_itself_refuses_what_is_no_token(template: Template) -> Iterator[str]:
    """Garbage in `Authorization` starts no function, and every token in every form that the contract allows passes."""
    for api in resources(template, "AWS::Serverless::Api").values():
        for name, authorizer in api["Auth"]["Authorizers"].items():
            identity = authorizer["Identity"]
            form = re.compile(identity["ValidationExpression"])
            wrong = [header for header in _TAKEN if not form.fullmatch(header)]
            wrong += [header for header in _REFUSED if form.search(header)]
            if wrong or identity.get("Header") != "Authorization":
                yield f"{name}: decides wrongly on {wrong}"
            if identity.get("ReauthorizeEvery") != {"Ref": "AuthorizerCacheSeconds"}:
                yield f"{name}: its cache does not last as long as the parameter says"


def a_call_needs_a_token_and_a_preflight_has_none(template: Template) -> Iterator[str]:
    """A route without an authorizer is open to everybody. Browsers send preflights without credentials (Fetch)."""
    (api,) = resources(template, "AWS::Serverless::Api").values()
    for function, event in events(template):
        if event["Type"] == "Api":
            asked = event["Properties"].get("Auth", {}).get("Authorizer", api["Auth"].get("DefaultAuthorizer"))
            preflight = event["Properties"]["Method"] == "options"
            if asked not in (["NONE"] if preflight else api["Auth"]["Authorizers"]):
                yield f"{function}: {event['Properties']['Method']} asks {asked}"


def every_call_counts_for_the_stages_limit(template: Template) -> Iterator[str]:
    """A client in an endless loop gets a 429 before it costs much, as the parameters say."""
    for name, api in resources(template, "AWS::Serverless::Api").items():
        wanted = {
            "HttpMethod": "*",
            "ResourcePath": "/*",
            "ThrottlingRateLimit": {"Ref": "ThrottleRate"},
            "ThrottlingBurstLimit": {"Ref": "ThrottleBurst"},
        }
        if api.get("MethodSettings") != [wanted]:
            yield f"{name}: {api.get('MethodSettings')}"


RULES: Final[tuple[Rule, ...]] = (
    the_gateway_itself_refuses_what_is_no_token,
    a_call_needs_a_token_and_a_preflight_has_none,
    every_call_counts_for_the_stages_limit,
)
