"""The OpenAPI document, made of the facts and the words for them."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Any, Final

from customers.http.request import MAX_BODY_BYTES
from tools.contract.facts import PATH_PARAMETERS, REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tools.contract.facts import Answer, Example, Facts, Operation
    from tools.contract.words import Words

type Json = dict[str, Any]

_PROBLEM_JSON: Final = "application/problem+json"
_JSON: Final = "application/json"
# Responses that are replayed to a request with an Idempotency-Key.
_KEPT: Final = frozenset({201, 207, 400, 409, 413, 415})
_REPLAYED: Final = ("Idempotency-Replayed",)
UNSPOKEN: Final = frozenset({"Content-Type", "Cache-Control", "X-Content-Type-Options"})
"""Headers that every response has, and that no client needs to know about."""
_HEADERS: Final[Mapping[str, tuple[Json, str]]] = {
    "Accept-Encoding": ({"type": "string", "enum": ["identity"]}, "identity"),
    "ETag": ({"type": "string", "pattern": '^"[1-9][0-9]*"$'}, '"1"'),
    "Idempotency-Replayed": ({"type": "string", "enum": ["true"]}, "true"),
    "Link": (
        {"type": "string"},
        '<https://api.example.com/api/customers/group/1?limit=1&cursor=qRMZoi4DrWdJlH7k>; rel="next"',
    ),
    "Location": ({"type": "string", "format": "uri-reference"}, "/api/customers/5181459237011563"),
    "Retry-After": ({"type": "string", "pattern": "^[0-9]+$"}, "1"),
    "WWW-Authenticate": ({"type": "string"}, "Bearer"),
    "X-Request-Id": ({"type": "string", "format": "uuid"}, REQUEST_ID),
}
"""Their schemas, with an example."""


_PROBLEM_SCHEMAS: Final = {"invalid-request": "InvalidRequest", "external-id-taken": "Conflict"}
"""The schemas of problems that have more members than the others."""

_DECLARED: Final = frozenset({"CustomerInput", "Changes", "Customer"})
"""Schemas whose properties are described where they are declared, in `customers.customer`."""


def specification(facts: Facts, words: Words) -> Json:
    """Return the document."""
    problems = problem_answers(facts)
    shared = _shared_responses(problems, words)
    paths: dict[str, Json] = {}
    for operation in facts.operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, facts, shared, words)
    codes = ", ".join(f"`{code}` ({_lower(words('codes', code))})" for code in facts.error_codes)
    problem_table = _problem_table(problems, words)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": words("title"),
            "version": facts.version,
            "summary": words("summary"),
            "description": words("description"),
        },
        "servers": [
            {"url": "/", "description": words("servers", "laptop")},
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/{stage}",
                "description": words("servers", "deployed"),
                "variables": {
                    "api": {"default": "api-id"},
                    "region": {"default": "us-east-1"},
                    "stage": {"default": facts.stage},
                },
            },
        ],
        # The last ones have no operations: the reference shows each as a page of its own.
        "tags": [
            {"name": name, "description": words("tags", name, problem_table=problem_table)}
            for name in words.get("tags")
        ],
        "security": [{facts.security_scheme: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                facts.security_scheme: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cust_…",
                    "description": words("security", cache=facts.authorizer_cache_seconds),
                }
            },
            "headers": _header_components(words, {"paths": paths, "responses": shared}),
            "responses": {name: shared[name] for name in shared if f"'#/components/responses/{name}'" in str(paths)},
            "schemas": _schemas(facts, words, codes),
        },
    }


def problem_answers(facts: Facts) -> dict[str, list[Answer]]:
    """Return all problems by name, the endpoints' before the gateway's."""
    own = [answer for operation in facts.operations for answer in operation.asked.problems.values()]
    own += [example.answer for operation in facts.operations for example in operation.examples]
    of_gateway = [answer for operation in facts.operations for answer in operation.gateway]
    found: dict[str, list[Answer]] = {}
    for answer in (*own, *of_gateway, facts.no_operation):
        if answer.headers.get("Content-Type") == _PROBLEM_JSON:
            found.setdefault(problem_name(answer), []).append(answer)
    return dict(sorted(found.items(), key=lambda item: item[1][0].status))


def problem_name(answer: Answer) -> str:
    """Return the last part of a problem's type."""
    assert answer.body is not None  # noqa: S101 - a problem has one
    return str(answer.body["type"]).removeprefix("/problems/")


def problem_words(words: Words, name: str, which: str) -> str:
    """Return the words for a problem: `when` it occurs, or what to `do`."""
    return words("problems", name, which, max_body=f"{MAX_BODY_BYTES:,}")


def _header_components(words: Words, used_in: Json) -> Json:
    text = str(used_in)
    components: Json = {}
    for name, (schema, example) in _HEADERS.items():
        described = {"description": words("headers", name), "schema": schema, "example": example}
        for key, header in ((name, {"required": True, **described}), (f"Optional-{name}", described)):
            if f"'#/components/headers/{key}'" in text:
                components[key] = header
    return components


def _problem_table(problems: Mapping[str, list[Answer]], words: Words) -> str:
    rows = [
        f"| `/problems/{name}` | {answers[0].status} | {problem_words(words, name, 'when')} |"
        for name, answers in problems.items()
    ]
    return "\n".join(["| `type` | status | when |", "| --- | --- | --- |", *rows])


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].removesuffix(".")


def _operation(operation: Operation, facts: Facts, shared: Mapping[str, Json], words: Words) -> Json:
    where = ("operations", operation.id)
    described: Json = {
        "operationId": operation.id,
        "tags": [words(*where, "tag")],
        "summary": words(*where, "summary"),
        "description": f"{words(*where, 'description')}\n\nScope: `{operation.scope}`.",
        "security": [{facts.security_scheme: [operation.scope]}],
        "parameters": [
            *_parameters("path", _path_schemas(operation, facts), operation, words),
            *_parameters("query", operation.asked.query, operation, words),
            *_parameters("header", operation.asked.headers, operation, words),
        ],
    }
    if operation.asked.media_types:
        described["requestBody"] = _request_body(operation, words)
    described["responses"] = _responses(operation, shared, words)
    return described


def _path_schemas(operation: Operation, facts: Facts) -> dict[str, Json]:
    customer = facts.schemas["Customer"]["properties"]
    schemas = {
        "customer_id": customer["id"],
        "group_id": customer["group_id"],
        "external_id": customer["external_id"]["anyOf"][0],
    }
    return {name: schema for name, schema in schemas.items() if f"{{{name}}}" in operation.path}


def _parameters(place: str, schemas: Mapping[str, Json], operation: Operation, words: Words) -> Iterable[Json]:
    for name, schema in schemas.items():
        parameter: Json = {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": words("operations", operation.id, "parameters", name),
            "schema": schema,
        }
        if place == "path":
            parameter["example"] = PATH_PARAMETERS[name]
        yield parameter


def _request_body(operation: Operation, words: Words) -> Json:
    where = ("operations", operation.id)
    examples = {
        example.name: {"summary": words(*where, "examples", example.name, "summary"), "value": example.body}
        for example in operation.examples
        # The invalid rows of a partly written list do not fit the schema.
        if example.answer.status < http.HTTPStatus.MULTI_STATUS
    }
    content = {"schema": _one_of(words.get(*where, "bodies")), "examples": examples}
    return {
        "description": words(*where, "body"),
        "required": True,
        "content": dict.fromkeys(operation.asked.media_types, content),
    }


def _one_of(names: Iterable[str]) -> Json:
    schemas: list[Json] = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


def _responses(operation: Operation, shared: Mapping[str, Json], words: Words) -> Json:
    """Return the responses of an operation: its own, with examples, and the shared ones."""
    examples: dict[int, list[Example]] = {}
    for example in operation.examples:
        examples.setdefault(example.answer.status, []).append(example)
    problems: dict[int, list[Answer]] = {}
    for answer in (*operation.asked.problems.values(), *operation.gateway):
        problems.setdefault(answer.status, []).append(answer)
    responses: dict[int, Json] = {}
    for status in sorted(examples.keys() | problems.keys()):
        if status in examples:
            # A status may mean several problems, of which only some have an example of their own.
            shown = {problem_name(each.answer) for each in examples[status] if status >= http.HTTPStatus.BAD_REQUEST}
            others = [answer for answer in problems.get(status, []) if shown and problem_name(answer) not in shown]
            responses[status] = _own_response(operation, status, examples[status], others, words)
        else:
            (name,) = {problem_name(answer) for answer in problems[status]}
            responses[status] = {"$ref": f"#/components/responses/{_camel(name)}"}
            if "Idempotency-Key" in operation.asked.headers and status in _KEPT:
                common = shared[_camel(name)]
                responses[status] = {**common, "headers": {**common["headers"], **_headers([], _REPLAYED)}}
    return {str(status): response for status, response in responses.items()}


def _own_response(
    operation: Operation, status: int, examples: list[Example], others: list[Answer], words: Words
) -> Json:
    answers = [example.answer for example in examples]
    where = ("operations", operation.id)
    named = {
        example.name: {
            "summary": words(*where, "examples", example.name, "summary"),
            **({} if example.answer.body is None else {"value": example.answer.body}),
        }
        for example in examples
    }
    kept = _REPLAYED if "Idempotency-Key" in operation.asked.headers and status in _KEPT else ()
    if status >= http.HTTPStatus.BAD_REQUEST:
        return _problem_response([*answers, *others], named | _examples_of(others), words, kept)
    response: Json = {"description": words(*where, "answers", status), "headers": _headers(answers, kept)}
    if any(answer.body is not None for answer in answers):
        schema = _one_of(words.get(*where, "schemas", status))
        response["content"] = {_JSON: {"schema": schema, "examples": named}}
    links = words.get(*where, "links", status)
    return {**response, "links": links} if links else response


def _shared_responses(problems: Mapping[str, list[Answer]], words: Words) -> dict[str, Json]:
    """Return each problem as a response, with an example for each of its details."""
    shared: dict[str, Json] = {}
    for name, answers in problems.items():
        shared[_camel(name)] = _problem_response(answers, _examples_of(answers), words)
    return shared


def _examples_of(answers: Iterable[Answer]) -> Json:
    """Return an example for each detail of each problem."""
    details: dict[str, dict[str, Answer]] = {}
    for answer in answers:
        if answer.body:
            details.setdefault(problem_name(answer).replace("-", "_"), {}).setdefault(answer.body["detail"], answer)
    return {
        f"{name}_{number}" if number > 1 else name: {"summary": detail, "value": answer.body}
        for name, by_detail in details.items()
        for number, (detail, answer) in enumerate(by_detail.items(), start=1)
    }


def _problem_response(
    answers: list[Answer], examples: Mapping[str, Json], words: Words, kept: Iterable[str] = ()
) -> Json:
    names = dict.fromkeys(problem_name(answer) for answer in answers)
    schema = next((_PROBLEM_SCHEMAS[name] for name in names if name in _PROBLEM_SCHEMAS), "Problem")
    return {
        "description": "\n\n".join(f"`/problems/{name}`: {problem_words(words, name, 'when')}" for name in names),
        "headers": _headers(answers, kept),
        "content": {_PROBLEM_JSON: {"schema": _one_of([schema]), "examples": examples}},
    }


def _headers(answers: list[Answer], optional: Iterable[str]) -> Json:
    """Return the headers of some responses. Only headers that all of them have are required."""
    present = [answer.headers.keys() - UNSPOKEN for answer in answers]
    every = set[str]().union(*present)
    always = every.intersection(*present) if present else set[str]()
    return {
        name: {"$ref": f"#/components/headers/{name if name in always else f'Optional-{name}'}"}
        for name in sorted(every.union(optional))
    }


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _schemas(facts: Facts, words: Words, codes: str) -> dict[str, Json]:
    identifier = facts.schemas["Customer"]["properties"]["id"]
    customer = {"$ref": "#/components/schemas/Customer"}
    customers = {"type": "array", "items": customer}
    errors = {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}, "minItems": 1}
    text = {"type": "string"}
    index = {"type": "integer", "minimum": 0}
    problem = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": text,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text,
        "instance": {"type": "string", "format": "uri-reference"},
        "request_id": {"type": "string", "format": "uuid"},
    }
    own: dict[str, tuple[Json, set[str]]] = {
        "CustomerList": ({"customers": customers}, set()),
        "Page": ({"customers": customers, "next_cursor": {"type": ["string", "null"]}}, set()),
        "History": (
            {
                "history": {"type": "array", "items": _one_of(["HistoryEntry"])},
                "next_cursor": {"type": ["string", "null"]},
            },
            set(),
        ),
        "HistoryEntry": (
            {
                "version": facts.schemas["Customer"]["properties"]["version"],
                "at": {"type": "string", "format": "date-time"},
                "action": {"type": "string", "enum": ["created", "updated", "deleted"]},
                "by": _one_of(["Author"]),
                "request_id": {"type": ["string", "null"]},
                "changes": {"type": "object", "additionalProperties": _one_of(["FieldChange"])},
            },
            set(),
        ),
        "Author": (
            {"token_id": text, "import_id": text, "row": {"type": "integer", "minimum": 1}},
            {"token_id", "import_id", "row"},
        ),
        "FieldChange": ({"from": {}, "to": {}}, set()),
        # No `const`: generators turn it into an enumeration of strings.
        "Deleted": ({"id": identifier, "deleted": {"type": "boolean"}}, set()),
        "DryRun": ({"valid": {"type": "boolean"}, "count": index}, set()),
        "RowResults": ({"results": {"type": "array", "items": _one_of(["RowResult"])}}, set()),
        "RowCreated": ({"index": index, "status": {"type": "integer", "const": 201}, "customer": customer}, set()),
        "RowRefused": ({"index": index, "status": {"type": "integer", "enum": [400, 409]}, "errors": errors}, set()),
        "Problem": (problem, set()),
        "InvalidRequest": ({**problem, "errors": errors}, {"errors"}),
        # Also the answer while a request with the same Idempotency-Key is still running.
        "Conflict": ({**problem, "customer_id": identifier, "errors": errors}, {"customer_id", "errors"}),
        "FieldError": (
            {
                "pointer": text,
                "parameter": text,
                "header": text,
                "code": text,
                "detail": text,
                "customer_id": identifier,
            },
            {"pointer", "parameter", "header", "customer_id"},
        ),
    }
    described: dict[str, Json] = {}
    for name, schema in facts.schemas.items():
        described[name] = {"description": words("schemas", name, "description"), **schema}
    for name, (properties, optional) in own.items():
        described[name] = {
            "description": words("schemas", name, "description"),
            "type": "object",
            "properties": properties,
            "required": [key for key in properties if key not in optional],
            # Clients must accept fields that are added later.
            "additionalProperties": True,
        }
    for name, names in words.get("unions").items():
        described[name] = {"description": words("schemas", name, "description"), **_one_of(names)}
    for name, schema in described.items():
        if name in _DECLARED or "properties" not in schema:
            continue
        schema["properties"] = {
            key: {**property_, "description": _property_words(words, name, key, codes)}
            for key, property_ in schema["properties"].items()
        }
    return described


def _property_words(words: Words, schema: str, name: str, codes: str) -> str:
    if schema in _PROBLEM_SCHEMAS.values() and name not in {"errors", "customer_id"}:
        schema = "Problem"
    return words("schemas", schema, "properties", name, codes=codes)
