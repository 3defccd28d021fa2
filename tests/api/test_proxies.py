"""What proxies, caches, browsers and monitors between a client and the API need."""

from __future__ import annotations

import gzip
import socket
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from tests.api.support import (
    COLLECTION,
    any_group,
    assert_problem,
    create,
    customer_body,
    group_path,
    path_of,
    send_raw,
    wait_until,
)
from tests.conftest import running_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from local.template.stack import Stack
    from tests.api.conftest import Tables
    from tests.conftest import Service

DECODERS: Final[dict[str | None, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    None: bytes,
}
ROWS: Final = 20
"""Customers on a page that is worth compressing."""


def fill(client: httpx.Client, group: int) -> None:
    rows = [customer_body(group) for _ in range(ROWS)]
    assert client.post(COLLECTION, params={"size": "list"}, json={"customers": rows}).status_code == 201
    wait_until(lambda: len(client.get(group_path(group)).json().get("customers", [])) == ROWS)


# HEAD


def test_head_tells_of_a_customer_and_a_group_what_get_would(client: httpx.Client, group: int) -> None:
    path = path_of(create(client, group))
    wait_until(lambda: client.get(group_path(group)).status_code == 200)
    varying = {"x-request-id", "x-amzn-requestid", "date", "content-length", "connection"}
    for place in (path, path + "/", group_path(group), f"/api/customers/{any_group()}"):
        get, head = client.get(place), client.head(place)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert {k: v for k, v in head.headers.items() if k not in varying} == {
            k: v for k, v in get.headers.items() if k not in varying
        }
        # It would have to be the same as for GET (RFC 9110, section 8.6), and nobody has counted that.
        assert "Content-Length" not in head.headers
    assert client.head(path, headers={"If-None-Match": '"1"'}).status_code == 304


def test_every_path_that_has_get_has_head_with_the_same_function(stack: Stack) -> None:
    functions = {(route.resource, route.method): route.function for route in stack.api.routes}
    reads = [resource for resource, method in functions if method == "GET"]
    assert reads
    for resource in reads:
        assert functions[resource, "HEAD"] == functions[resource, "GET"]


def test_whoever_may_get_may_head_and_nobody_else(client: httpx.Client, tables: Tables, group: int) -> None:
    path = path_of(create(client, group))
    with tables.caller(tables.new_token(["customers:read"])) as reader:
        assert reader.head(path).status_code == 200
    with tables.caller(tables.new_token(["customers:write", "customers:delete"])) as writer:
        assert writer.head(path).status_code == 403
    with tables.caller(None) as nobody:
        assert nobody.head(path).status_code == 401


# Compression


@pytest.mark.parametrize(("accepted", "coding"), [
    ("gzip", "gzip"),
    ("br, gzip;q=0.5", "gzip"),
    ("*", "gzip"),
    ("deflate", "deflate"),
    ("identity", None),
    ("gzip;q=0", None),
    ("gzip;q=0, deflate;q=0.1", "deflate"),
    ("br", None),
    ("", None),
])  # fmt: skip
def test_a_page_is_compressed_if_the_client_accepts_it(
    client: httpx.Client, service: Service, group: int, accepted: str, coding: str | None
) -> None:
    fill(client, group)
    plain = client.get(group_path(group), headers={"Accept-Encoding": "identity"})
    answer = send_raw(service, f"GET {group_path(group)} HTTP/1.1\nAccept-Encoding: {accepted}")
    assert answer.headers.get("content-encoding") == coding
    assert DECODERS[coding](answer.body) == plain.content
    assert coding is None or len(answer.body) < len(plain.content) / 4


def test_a_single_customer_is_too_small_to_be_compressed(client: httpx.Client, group: int) -> None:
    path = path_of(create(client, group))
    answer = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["ETag"] == '"1"'


def test_a_compressed_request_is_refused_and_told_what_is_accepted(client: httpx.Client, group: int) -> None:
    path = path_of(create(client, group))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"age": 1}')
    key = {"Idempotency-Key": str(any_group())}
    for answer in (
        client.post(COLLECTION, content=body, headers=headers),
        client.post(COLLECTION, content=body, headers={**headers, **key}),
        client.patch(path, content=body, headers=headers),
    ):
        assert_problem(answer, 415)
        assert answer.headers["Accept-Encoding"] == "identity"
    # A refusal is not kept, so the key can still be used.
    assert client.post(COLLECTION, json=customer_body(group), headers=key).status_code == 201


# Links


def test_a_link_is_absolute_and_forwarded_headers_do_not_change_it(
    client: httpx.Client, service: Service, group: int
) -> None:
    fill(client, group)
    claims = {"X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": "https", "Forwarded": "host=x.example"}
    answer = client.get(group_path(group), params={"limit": 1}, headers={**claims, "Host": "elsewhere.example"})
    url = answer.links["next"]["url"]
    assert url.startswith(f"{service.url}{group_path(group)}?limit=1&cursor=")
    assert client.get(url).json()["customers"][0]["id"] != answer.json()["customers"][0]["id"]


def test_a_link_begins_with_the_public_url_if_there_is_one(tmp_path: Path, group: int) -> None:
    parameter = "PublicUrl=https://example.com/crm/"
    with running_service(tmp_path, "--in-memory", "--parameter", parameter) as own, own.client() as client:
        fill(client, group)
        url = client.get(group_path(group), params={"limit": 1}).links["next"]["url"]
        created = client.post(COLLECTION, json=customer_body(group))
        keyed = client.put("/api/customers/external/a", json=customer_body(group))
    assert url.startswith(f"https://example.com/crm{group_path(group)}?limit=1&cursor=")
    assert created.headers["Location"] == f"https://example.com/crm/api/customers/{created.json()['id']}"
    assert keyed.headers["Location"] == f"https://example.com/crm/api/customers/{keyed.json()['id']}"


def test_an_empty_cursor_is_the_first_page(client: httpx.Client, group: int) -> None:
    fill(client, group)
    first = client.get(group_path(group), params={"limit": 3})
    again = client.get(group_path(group), params={"limit": 3, "cursor": ""})
    assert again.json() == first.json()
    assert again.links["next"]["url"] == first.links["next"]["url"]


# Requests


@pytest.mark.parametrize("path", ["/api/<b>", "/api/%zz", "//elsewhere.example:port/a", '/api/"{}|^`', "/api/[a]"])
def test_the_instance_of_a_problem_is_a_uri_reference(service: Service, path: str) -> None:
    # The contract's format is checked, too.
    answer = send_raw(service, f"GET {path} HTTP/1.1")
    assert answer.status == 404
    instance = str(answer.json()["instance"])
    assert not urlsplit(instance).netloc
    assert not set(instance) & set('<>"{}|^`\\ ')


@pytest.mark.parametrize(("version", "hosts", "status"), [
    ("1.1", 0, 400),
    ("1.1", 2, 400),
    ("1.1", 1, 404),
    ("1.0", 0, 404),
])  # fmt: skip
def test_a_request_of_http_1_1_has_exactly_one_host(service: Service, version: str, hosts: int, status: int) -> None:
    address = urlsplit(service.url)
    assert address.hostname is not None
    lines = [f"GET /api/customers/{any_group()} HTTP/{version}", f"Authorization: Bearer {service.token}"]
    lines += [f"Host: {address.netloc}"] * hosts + ["Connection: close"]
    with socket.create_connection((address.hostname, address.port or 80), timeout=40) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"Cache-Control: no-store" in head
    assert (b"/problems/invalid-request" if status == 400 else b"/problems/not-found") in body
