"""Checks every answer strictly against the published contract: what the contract lacks must not be in an answer."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from jsonschema_rs import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

ROOT: Final = Path(__file__).parent.parent

type Json = dict[str, Any]

# What servers and gateways add to any answer, and what no client reads.
_UNSPOKEN: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "server", "x-amzn-requestid"}
)
_ALWAYS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Published:
    """The contract as it is published."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._closed = _closed(document)
        self._validators: dict[str, Draft202012Validator] = {}
        self._routes = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "/?"), path) for path in sorted(document["paths"])
        ]
        # Paths without parameters come first.
        self._routes.sort(key=lambda route: route[1].count("{"))

    def operation(self, method: str, path: str) -> Json | None:
        """Return the operation of a call, or None if there is none."""
        for pattern, template in self._routes:
            if pattern.fullmatch(path):
                found: Json | None = self._closed["paths"][template].get(method.lower())
                return found
        return None

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Check an answer to a call: status, headers, media type and body."""
        sent = {name.lower(): value for name, value in headers.items()}
        assert {name: sent.get(name) for name in _ALWAYS} == _ALWAYS, f"{method} {path}"
        is_head = method == "HEAD"
        if is_head:
            assert not body, path
            method = "GET"
        operation = self.operation(method, path)
        if operation is None:
            assert status == 404, (method, path, status)
            return
        where = f"{method} {path} → {status}"
        assert str(status) in operation["responses"], f"{where}: the contract has no such status"
        response = self._resolved(operation["responses"][str(status)])
        promised = {name: self._resolved(header) for name, header in response.get("headers", {}).items()}
        for name, header in promised.items():
            if name.lower() in sent:
                self.validate(header["schema"], sent[name.lower()], f"{where}: {name}")
            else:
                assert not header.get("required"), f"{where}: {name} is missing"
        unspoken = sent.keys() - {name.lower() for name in promised} - _UNSPOKEN - _ALWAYS.keys()
        assert not unspoken, f"{where}: the contract has no headers {unspoken}"
        if "content" not in response:
            assert not body, where
            return
        if not body and is_head:
            return
        ((media_type, content),) = response["content"].items()
        assert sent["content-type"] == media_type, where
        self.validate(content["schema"], json.loads(body), where)

    def validate(self, schema: Json, value: object, where: str) -> None:
        """Check a value against one of the contract's schemas. Properties that the schema does not name are errors."""
        key = json.dumps(schema)
        if key not in self._validators:
            components = {"components": self._closed["components"]}
            self._validators[key] = Draft202012Validator({**components, **_closed(schema)}, validate_formats=True)
        errors = [f"{error.instance_path}: {error.message}" for error in self._validators[key].iter_errors(value)]
        assert not errors, f"{where}: {errors}"

    def check_response(self, response: httpx.Response) -> None:
        """Check an answer from httpx, as an event hook."""
        response.read()
        path = response.request.url.raw_path.partition(b"?")[0].decode()
        self.check(response.request.method, path, response.status_code, response.headers, response.content)

    def _resolved(self, part: Json) -> Json:
        while "$ref" in part:
            part = functools.reduce(lambda found, step: found[step], part["$ref"].split("/")[1:], self._closed)
        return part


@functools.cache
def published() -> Published:
    """Return the contract of this working copy."""
    return Published(yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8")))


def _closed(part: Any) -> Any:
    """Return the document with schemas that allow only the properties that they name."""
    match part:
        case dict():
            closed = {key: _closed(value) for key, value in part.items() if key not in {"example", "examples"}}
            if "properties" in closed and closed.get("additionalProperties", True) is True:
                return {**closed, "additionalProperties": False}
            return closed
        case list():
            return [_closed(value) for value in part]
        case _:
            return part
