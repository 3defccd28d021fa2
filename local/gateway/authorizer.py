"""What a TOKEN authorizer does with a request: asks its function who calls, caches the answer, applies the policy.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.errors import FunctionError, InvocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.gateway.request_log import Call
    from local.runtime.functions import FunctionPool
    from local.template.stack import Authorizer

_MAX_ANSWERS: Final = 10_000
_TIMEOUT: Final = 29.0
_POLICY_ELEMENTS: Final = frozenset({"Sid", "Effect", "Action", "Resource"})


class RefusedError(Exception):
    """The request is refused.

    Parameters
    ----------
    response_type
        Type of the gateway response.
    message
        What AWS puts into `$context.error.message`. None for nothing.
    """

    def __init__(self, response_type: str, message: str | None) -> None:
        super().__init__(response_type)
        self.response_type = response_type
        self.message = message


@dataclass(frozen=True, slots=True)
class _Statement:
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def applies_to(self, method_arn: str) -> bool:
        return any(_matches(action, "execute-api:invoke") for action in self.actions) and any(
            _matches(resource, method_arn) for resource in self.resources
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    statements: tuple[_Statement, ...]
    context: Mapping[str, str]

    def allows(self, method_arn: str) -> bool:
        """Decide as IAM does: a denial wins, and only what is explicitly allowed is allowed."""
        decisions = {statement.allows for statement in self.statements if statement.applies_to(method_arn)}
        return decisions == {True}


class TokenAuthorizer:
    """One TOKEN authorizer, with its cache.

    Parameters
    ----------
    authorizer
        What the template declares.
    pool
        Its function.
    """

    def __init__(self, authorizer: Authorizer, pool: FunctionPool) -> None:
        self._authorizer = authorizer
        self._pool = pool
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[float, _Answer]] = OrderedDict()

    def authorize(self, headers: Mapping[str, str], method_arn: str, call: Call) -> Mapping[str, str]:
        """Decide whether a request may go on.

        Parameters
        ----------
        headers
            The request's headers, names in lower case.
        method_arn
            ARN of the requested method.
        call
            Records that the function is asked.

        Returns
        -------
        Mapping[str, str]
            What the route's function gets as `requestContext.authorizer`.

        Raises
        ------
        RefusedError
            If it may not.
        """
        token = headers.get(self._authorizer.header.lower())
        if not token or self._authorizer.pattern.fullmatch(token) is None:
            raise RefusedError("UNAUTHORIZED", "Unauthorized")
        answer = self._kept(token)
        if answer is None:
            answer = self._ask(token, method_arn, call)
            self._keep(token, answer)
        if not answer.allows(method_arn):
            raise RefusedError("ACCESS_DENIED", "User is not authorized to access this resource")
        return answer.context

    def _kept(self, token: str) -> _Answer | None:
        with self._lock:
            until, answer = self._answers.get(token, (0.0, None))
            return answer if time.monotonic() < until else None

    def _keep(self, token: str, answer: _Answer) -> None:
        if self._authorizer.ttl:
            with self._lock:
                self._answers[token] = (time.monotonic() + self._authorizer.ttl, answer)
                self._answers.move_to_end(token)
                if len(self._answers) > _MAX_ANSWERS:
                    self._answers.popitem(last=False)

    def _ask(self, token: str, method_arn: str, call: Call) -> _Answer:
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": method_arn}
        try:
            asked = call.invoked(self._authorizer.function)
            result = self._pool.invoke(json.dumps(event).encode(), _TIMEOUT, asked)
        except FunctionError as error:
            # The only message with a special meaning.
            if error.message == "Unauthorized":
                raise RefusedError("UNAUTHORIZED", "Unauthorized") from error
            raise RefusedError("AUTHORIZER_FAILURE", None) from error
        except InvocationError as error:
            raise RefusedError("AUTHORIZER_FAILURE", None) from error
        try:
            return _answer(json.loads(result))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", None) from error


def _answer(result: Mapping[str, Any]) -> _Answer:
    """Check an authorizer's result.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        If it is malformed.
    """
    principal = result["principalId"]
    if not isinstance(principal, str):
        raise TypeError("principalId is not a string")
    context = {key: _scalar(value) for key, value in (result.get("context") or {}).items()}
    statements = result["policyDocument"]["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    return _Answer(tuple(map(_statement, statements)), {"principalId": principal, **context})


def _statement(statement: Mapping[str, Any]) -> _Statement:
    # Conditions and negated elements could widen or narrow what is allowed: better an error than a wrong decision.
    if unknown := statement.keys() - _POLICY_ELEMENTS:
        raise ValueError(f"unknown elements: {', '.join(unknown)}")
    if statement["Effect"] not in {"Allow", "Deny"}:
        raise ValueError("Effect is neither Allow nor Deny")
    actions = tuple(action.lower() for action in _texts(statement["Action"]))
    return _Statement(statement["Effect"] == "Allow", actions, _texts(statement["Resource"]))


def _texts(value: str | list[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("neither a string nor a list of strings")
    return texts


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise TypeError("a context value is not a string, a number or a boolean")


def _matches(pattern: str, text: str) -> bool:
    return _wildcards(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=1024)
def _wildcards(pattern: str) -> re.Pattern[str]:
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(translated, re.DOTALL)
