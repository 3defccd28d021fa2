"""The gateway's own responses, as the template words them.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from local.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping

# AWS's own statuses, for responses whose status the template does not set.
_STATUSES: Final = {
    "ACCESS_DENIED": 403,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 500,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "REQUEST_TOO_LARGE": 413,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
}
_SERVER_ERROR: Final = 500
_HEADER_PREFIX: Final = "gatewayresponse.header."
_DEFAULT_BODY: Final = '{"message":$context.error.messageString}'
_VARIABLE: Final = re.compile(r"\$context\.(\w+(?:\.\w+)*)")


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class GatewayResponses:
    """Renders gateway responses.

    Parameters
    ----------
    declared
        By type, as in the OpenAPI extension x-amazon-apigateway-gateway-responses.

    Raises
    ------
    TemplateError
        If a response uses more than `$context` variables, `'literals'` and `context` headers.
    """

    def __init__(self, declared: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        self._declared = declared
        for response_type, response in declared.items():
            for template in response.get("responseTemplates", {}).values():
                if "$" in _VARIABLE.sub("", template) or "#set" in template or "#if" in template:
                    raise TemplateError(f"gateway response {response_type}: only $context variables are supported")
            for name, value in response.get("responseParameters", {}).items():
                literal = value.startswith("'") and value.endswith("'")
                if not name.startswith(_HEADER_PREFIX) or not (literal or value.startswith("context.")):
                    raise TemplateError(f"gateway response {response_type}: {name}: {value} is not supported")

    def render(self, response_type: str, message: str | None, context: Mapping[str, str]) -> Response:
        """Render a response.

        Parameters
        ----------
        response_type
            Such as `THROTTLED`.
        message
            The gateway's own message. None for nothing.
        context
            The variables of `$context`, apart from its `error`.
        """
        own = self._declared.get(response_type, {})
        status = int(str(own.get("statusCode") or _STATUSES[response_type]))
        fallback = self._declared.get("DEFAULT_5XX" if status >= _SERVER_ERROR else "DEFAULT_4XX", {})
        variables = {
            **context,
            "error.message": message or "",
            "error.responseType": response_type,
        }
        parameters = own.get("responseParameters") or fallback.get("responseParameters", {})
        templates = own.get("responseTemplates") or fallback.get("responseTemplates", {})
        headers = {"content-type": ("Content-Type", "application/json")}
        for key, value in parameters.items():
            name = key.removeprefix(_HEADER_PREFIX)
            text = value[1:-1] if value.startswith("'") else variables.get(value.removeprefix("context."), "")
            headers[name.lower()] = (name, text)

        def substitute(match: re.Match[str]) -> str:
            if match[1] == "error.messageString":
                return json.dumps(message)
            # A path comes from the caller: it must not be able to end the JSON string that it is in.
            return json.dumps(variables.get(match[1], ""))[1:-1]

        body = _VARIABLE.sub(substitute, templates.get("application/json", _DEFAULT_BODY))
        return Response(status, list(headers.values()), body.encode())
