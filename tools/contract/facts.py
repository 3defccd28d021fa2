"""What the code and the template say about the API, so that no fact is written down twice.

The endpoints show what they read and return: each handles the examples' requests, with a request object that records
what is read from it, and a store that holds one customer.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from pydantic import TypeAdapter

from customers import errors, fields, logs, metadata, model
from customers.customer import Customer, NewCustomer
from customers.http import request as http
from customers.http.cursor import CursorSealer
from customers.http.problems import problem
from customers.tokens import SCOPES
from local.gateway.proxy import Request as ProxyRequest
from local.gateway.proxy import proxy_event
from local.gateway.responses import GatewayResponses
from local.template.document import Template
from local.template.stack import read_stack
from tools.contract.sample import CUSTOMER_ID, EXTERNAL_ID, GROUP_ID, SampleStore
from tools.modules import module_at

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from customers.tokens import Scope
    from local.template.stack import Route, Stack

type Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
_STACK_ID: Final = "arn:aws:cloudformation:us-east-1:123456789012:stack/contract/1"
REQUEST_ID: Final = "0638bab5-3e2d-46cd-8ace-6eed3eca8f69"
PATH_PARAMETERS: Final = {"customer_id": CUSTOMER_ID, "group_id": GROUP_ID, "external_id": EXTERNAL_ID}
"""What the examples request."""

_TAG: Final = r'(W/)?"[!#-~]*"'
_TAGS: Final = {"type": "string", "pattern": rf"^(\*|{_TAG}(, *{_TAG})*)$"}
"""The form of If-Match and If-None-Match (RFC 9110, section 13.1). More white space is accepted too. There is no
example, because pages for trying out an API would fill it in and send it.
"""

# In the order in which a reader needs them.
_METHODS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
# Gateway responses when there is no operation: the route or its method does not exist.
_NO_OPERATION: Final = frozenset({"INVALID_SIGNATURE", "MISSING_AUTHENTICATION_TOKEN", "RESOURCE_NOT_FOUND"})
# Gateway responses to a body, which only some operations have.
_OF_A_BODY: Final = frozenset({"BAD_REQUEST_BODY", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"})


class Answer(NamedTuple):
    """A status, headers and a body, of an endpoint or of the gateway."""

    status: int
    headers: Mapping[str, str]
    body: Json | None


@dataclass(frozen=True, slots=True)
class Example:
    """A request from `words.yaml`, and the endpoint's response."""

    name: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    path: Mapping[str, int | str]
    body: Any
    answer: Answer


@dataclass(slots=True)
class Asked:
    """What an endpoint read from its request."""

    query: dict[str, Json] = field(default_factory=dict)
    """Schemas of the query parameters, by name."""
    headers: dict[str, Json] = field(default_factory=dict)
    """Schemas of the headers, by name."""
    media_types: tuple[str, ...] = ()
    """Media types of the body. Empty if none was read."""
    problems: dict[tuple[int, str], Answer] = field(default_factory=dict)
    """The errors that this may cause, by status and detail."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route of the template, and the endpoint behind it."""

    id: str
    """The function's name in the template, such as `getCustomer`."""
    method: str
    path: str
    scope: str
    """The scope that a token needs."""
    asked: Asked
    examples: Sequence[Example]
    gateway: Sequence[Answer]
    """Responses that the gateway may return instead of the endpoint."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts."""

    version: str
    operations: Sequence[Operation]
    schemas: Mapping[str, Json]
    """Schemas of what the model accepts and the store returns, by name."""
    error_codes: Sequence[str]
    no_operation: Answer
    """The gateway's response if there is no operation."""
    authorizer_cache_seconds: int
    stage: str
    security_scheme: str


class _RecordingRequest(http.Request):
    """A request that records what an endpoint reads from it."""

    def __init__(self, event: Mapping[str, Any], asked: Asked) -> None:
        super().__init__(event, None)
        self._asked = asked
        self._may_be(errors.StoreUnavailableError(), errors.CustomersError())

    def choice[T: str](self, name: str, choices: Sequence[T]) -> T:
        self._asked.query[name] = {"type": "string", "enum": list(choices), "default": choices[0]}
        return super().choice(name, choices)

    def flag(self, name: str) -> bool:
        value = super().flag(name)
        self._asked.query[name] = {"type": "boolean", "default": False}
        return value

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        self._asked.query[name] = {"type": "integer", "minimum": least, "maximum": most, "default": default}
        return super().integer(name, least, most, default)

    def text(self, name: str) -> str | None:
        self._asked.query[name] = {"type": "string"}
        return super().text(name)

    def body[T](self, parse: Callable[[Any], T], *, merge_patch: bool = False) -> T:
        self._asked.media_types = (http.JSON, http.MERGE_PATCH) if merge_patch else (http.JSON,)
        too_large = http.PayloadTooLargeError(f"The body must have at most {http.MAX_BODY_BYTES} bytes.")
        taken = " or ".join(self._asked.media_types)
        wrong_type = http.UnsupportedMediaTypeError(f"Send the body as {taken}, in UTF-8.")
        self._may_be(wrong_type, http.UnsupportedContentCodingError(), too_large)
        return super().body(parse, merge_patch=merge_patch)

    def idempotency_key(self) -> str | None:
        self._asked.headers["Idempotency-Key"] = {"type": "string", "pattern": f"^{http.IDEMPOTENCY_KEY.pattern}$"}
        self._may_be(errors.KeyReusedError(), errors.StillRunningError())
        return super().idempotency_key()

    def expected_versions(self) -> list[int] | None:
        self._asked.headers["If-Match"] = _TAGS
        self._may_be(errors.VersionMismatchError(1))
        return super().expected_versions()

    def known_versions(self) -> Container[int]:
        self._asked.headers["If-None-Match"] = _TAGS
        return super().known_versions()

    def id_in_path(self, name: str) -> int:
        self._may_be(errors.NotFoundError("There is no such customer."))
        return super().id_in_path(name)

    def external_id_in_path(self) -> str:
        self._may_be(errors.NotFoundError("There is no such customer."))
        return super().external_id_in_path()

    def expected_existence(self) -> bool | None:
        # Not an enumeration: its only value would be filled in too.
        self._asked.headers["If-None-Match"] = {"type": "string", "pattern": r"^\*$"}
        return super().expected_existence()

    def require_scope(self, scope: Scope) -> None:
        self._may_be(errors.ForbiddenError(f"The token lacks the scope {scope}."))
        super().require_scope(scope)

    def check(self) -> None:
        unknown = errors.FieldError(parameter="fields", code="unknown_parameter", detail="There is no such parameter.")
        self._may_be(errors.InvalidError([unknown]))
        super().check()

    def _may_be(self, *causes: errors.CustomersError) -> None:
        for cause in causes:
            answer = _answer(problem(cause, self))
            assert answer.body is not None  # noqa: S101 - a problem has one
            self._asked.problems.setdefault((answer.status, answer.body["detail"]), answer)


def read_facts(examples: Mapping[str, Mapping[str, Any]]) -> Facts:
    """Read the facts from the code and the template.

    Parameters
    ----------
    examples
        The requests of each operation's examples, by the operation's id and the example's name.
    """
    stack = read_stack(Template(ROOT / "template.yaml", {}, stack_id=_STACK_ID))
    _become_a_function(stack)
    (scheme,) = stack.api.authorizers
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    gateway = _gateway_answers(stack)
    # HEAD is GET without the body, and not an operation of its own.
    routes = [route for route in stack.api.routes if route.method != "HEAD"]
    operations = [_operation(stack, route, gateway, examples) for route in routes]
    return Facts(
        version=project["version"],
        operations=sorted(operations, key=lambda operation: (operation.path, _METHODS.index(operation.method))),
        schemas=_schemas(),
        error_codes=get_args(errors.RequestErrorCode),
        no_operation=gateway["MISSING_AUTHENTICATION_TOKEN"],
        authorizer_cache_seconds=stack.api.authorizers[scheme].ttl,
        stage=stack.api.stage,
        security_scheme=scheme,
    )


def _become_a_function(stack: Stack) -> None:
    # The endpoints create their clients when they are imported. They never make a call.
    os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")  # noqa: S106
    logs.logger.setLevel("CRITICAL")
    for function in stack.functions.values():
        os.environ.update(function.environment)


def _operation(
    stack: Stack, route: Route, gateway: Mapping[str, Answer], examples: Mapping[str, Mapping[str, Any]]
) -> Operation:
    identifier = route.function[0].lower() + route.function[1:]
    asked = Asked()
    answered = [_example(stack, route, name, request, asked) for name, request in examples.get(identifier, {}).items()]
    concerned = gateway.keys() - _NO_OPERATION - (set() if asked.media_types else _OF_A_BODY)
    return Operation(
        id=identifier,
        method=route.method,
        path=route.resource,
        scope=_scope(route),
        asked=asked,
        examples=answered,
        gateway=[gateway[name] for name in sorted(concerned)],
    )


def _example(stack: Stack, route: Route, name: str, request: Mapping[str, Any], asked: Asked) -> Example:
    path = {key: PATH_PARAMETERS[key] for key in _names_in(route.resource)} | request.get("path", {})
    headers = dict(request.get("headers", {}))
    query = request.get("query", {})
    body = request.get("body")
    sent = ProxyRequest(
        method=route.method,
        path=route.resource.format(**path),
        query="&".join(f"{key}={_text(value)}" for key, value in query.items()),
        headers={key: [value] for key, value in headers.items()},
        body=b"" if body is None else json.dumps(body).encode(),
        remote_address="192.0.2.10",
        domain="api.example.com",
        protocol="HTTP/1.1",
        request_id=REQUEST_ID,
    )
    texts = {key: str(value) for key, value in path.items()}
    token = {"token_id": "sample", "scopes": " ".join(request.get("scopes", SCOPES))}
    event = json.loads(proxy_event(sent, stack.api, route, texts, token))
    request_ = _RecordingRequest(event, asked)
    module = _module(stack.functions[route.function].code / "app.py")
    # The endpoints' own names for what they use.
    module.store = module.keyed = module.history = SampleStore()  # type: ignore[attr-defined]
    module.cursors = CursorSealer(lambda: ["sample"])  # type: ignore[attr-defined]
    handle: Callable[[http.Request], http.Response] = module.lambda_handler.__wrapped__
    try:
        answer = handle(request_)
    except errors.CustomersError as error:
        answer = problem(error, request_)
    return Example(name, query, headers, path, body, _answer(answer))


_module: Final = functools.cache(module_at)


def _names_in(resource: str) -> Iterator[str]:
    return (part[1:-1] for part in resource.split("/") if part.startswith("{"))


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _answer(response: http.Response) -> Answer:
    return Answer(response.status, {"X-Request-Id": REQUEST_ID, **response.headers}, response.body)


def _scope(route: Route) -> str:
    """Return the only scope whose policy allows a call of the route."""
    routes: Mapping[str, Sequence[str]] = _module(ROOT / "functions/authorize/app.py").ROUTES
    call = route.method + route.resource.format(**PATH_PARAMETERS)
    (scope,) = (
        scope for scope, patterns in routes.items() if any(fnmatch.fnmatchcase(call, pattern) for pattern in patterns)
    )
    return scope


def _gateway_answers(stack: Stack) -> dict[str, Answer]:
    responses = GatewayResponses(stack.api.gateway_responses)
    context = {"path": "/api/customers", "requestId": REQUEST_ID, "stage": stack.api.stage}
    answers = {}
    for name in stack.api.gateway_responses:
        rendered = responses.render(name, None, context)
        answers[name] = Answer(rendered.status, dict(rendered.headers), json.loads(rendered.body))
    return answers


def _schemas() -> dict[str, Json]:
    new, stored = _json_schema(NewCustomer), _json_schema(Customer)
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/CustomerInput"}, "minItems": 1}
    not_always = {field.name for field in fields.FIELDS if field.on_request}
    fixed = {field.name for field in fields.FIELDS if field.fixed}
    return {
        # Not `NewCustomer`, which in Go is the constructor of `Customer`.
        "CustomerInput": new,
        "CustomerListInput": _object({"customers": rows | {"maxItems": model.MAX_ROWS}})
        | {"additionalProperties": False},
        # An empty patch is an error, and no field is required.
        "Changes": {
            "type": "object",
            "properties": {name: _change(schema) for name, schema in new["properties"].items() if name not in fixed},
            "minProperties": 1,
            "additionalProperties": False,
        },
        "Customer": {
            "type": "object",
            # Clients do not need the rules for what the service returns, and cannot apply them all.
            "properties": _without_patterns(stored["properties"]),
            "required": [name for name in stored["properties"] if name not in not_always],
            "additionalProperties": True,
        },
    }


def _change(schema: Json) -> Json:
    """Return the schema of a field in a patch, in which null removes an entry."""
    if schema["type" if "type" in schema else "anyOf"] != "object":
        return schema
    value = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}
    return {**schema, "additionalProperties": value, "maxProperties": metadata.MAX_PATCH_ENTRIES}


def _without_patterns(part: Any) -> Any:  # noqa: ANN401 (a part of a schema)
    match part:
        case dict():
            return {key: _without_patterns(value) for key, value in part.items() if key != "pattern"}
        case list():
            return [_without_patterns(value) for value in part]
        case _:
            return part


def _object(properties: Mapping[str, Json]) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _with_entries(schema: Json) -> Json:
    """Return a schema whose entries are described in a way that client generators understand."""
    if "patternProperties" not in schema:
        return schema
    ((pattern, value),) = schema["patternProperties"].items()
    others = {key: part for key, part in schema.items() if key != "patternProperties"}
    return {**others, "propertyNames": {"pattern": pattern}, "additionalProperties": value}


def _json_schema(declared: type) -> Json:
    """Return the JSON Schema of a declaration, without the titles that pydantic makes from the names."""
    schema = TypeAdapter(declared).json_schema()
    properties = {
        name: _with_entries({key: value for key, value in property_.items() if key != "title"})
        for name, property_ in schema["properties"].items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": schema["required"],
        "additionalProperties": schema["additionalProperties"],
    }
