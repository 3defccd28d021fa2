"""Pages of other origins: only those that the parameter names may call from a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from local.template.document import Template
from local.template.stack import read_stack
from tests.api.support import COLLECTION, create, customer_body, group_path, path_of
from tests.conftest import ROOT, running_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.template.stack import Stack

OURS, OTHER, FOREIGN = "https://app.example.com", "http://localhost:5173", "https://elsewhere.example"
SHARED = "access-control-allow-origin"
PATHS = [COLLECTION, "/api/customers", "/api/customers/1", "/api/customers/group/1/"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data = tmp_path_factory.mktemp("cors")
    # Not the service's own client, which knows the published contract and none of these headers.
    with (
        running_service(data, "--in-memory", "--parameter", f"CorsOrigins={OTHER}, {OURS}") as service,
        httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.token}"}, timeout=40) as client,
    ):
        yield client


def ask(client: httpx.Client, path: str, origin: str) -> httpx.Response:
    """Ask as a browser does before a request that is not simple: without the token."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    return httpx.options(client.base_url.join(path), headers=headers)


@pytest.mark.parametrize("origin", [OURS, OTHER])
@pytest.mark.parametrize("path", PATHS)
def test_a_browser_is_told_what_a_page_may_send(shared: httpx.Client, stack: Stack, path: str, origin: str) -> None:
    answer = ask(shared, path, origin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[SHARED] == origin
    assert answer.headers["Vary"] == "Origin"
    methods = {route.method for route in stack.api.routes} - {"OPTIONS"}
    assert methods == set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = set(answer.headers["Access-Control-Allow-Headers"].lower().split(", "))
    assert {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"} <= allowed
    assert {"traceparent", "tracestate", "baggage", "sentry-trace"} <= allowed


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [FOREIGN, OURS + ".elsewhere.example", OURS.upper(), "null", ""])
def test_a_page_of_another_origin_is_not_allowed(shared: httpx.Client, path: str, origin: str) -> None:
    answer = ask(shared, path, origin)
    assert SHARED not in answer.headers
    assert answer.headers["Vary"] == "Origin"


def test_a_page_sees_answers_and_errors_with_their_headers(shared: httpx.Client, group: int) -> None:
    page = {"Origin": OURS}
    created = shared.post(COLLECTION, json=customer_body(group), headers=page)
    path = path_of(created.json())
    answers = [
        created,
        shared.get(group_path(group), headers=page),
        shared.get(path, headers={**page, "If-None-Match": '"1"'}),
        shared.patch(path, json={"age": -1}, headers=page),
        shared.delete(path, headers={**page, "If-Match": '"9"'}),
        shared.delete(path, headers=page),
        shared.get(path, headers=page),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 304, 400, 412, 200, 404]
    for answer in answers:
        assert answer.headers[SHARED] == OURS
        exposed = set(answer.headers["Access-Control-Expose-Headers"].lower().split(", "))
        wanted = "accept-encoding etag idempotency-replayed link location retry-after x-request-id"
        assert set(wanted.split()) <= exposed


def test_another_page_does_not_see_customers(shared: httpx.Client, group: int) -> None:
    customer = create(shared, group)
    answer = shared.get(path_of(customer), headers={"Origin": FOREIGN})
    assert SHARED not in answer.headers
    assert SHARED not in shared.get(path_of(customer)).headers


def test_a_page_sees_the_gateways_own_errors(shared: httpx.Client) -> None:
    refused = httpx.get(shared.base_url.join("/api/customers/1"), headers={"Origin": OURS})
    unknown = shared.get("/api/nothing", headers={"Origin": OURS})
    assert (refused.status_code, unknown.status_code) == (401, 404)
    for answer in (refused, unknown):
        assert answer.headers[SHARED] == "*"
        exposed = set(answer.headers["Access-Control-Expose-Headers"].lower().split(", "))
        assert {"retry-after", "www-authenticate", "x-request-id"} == exposed


def test_every_answer_of_the_gateway_itself_exposes_its_headers() -> None:
    stack = read_stack(Template(ROOT / "template.yaml", {"CorsOrigins": OURS}, stack_id="arn:aws:cloudformation:::s/1"))
    exposing = "gatewayresponse.header.Access-Control-Expose-Headers"
    for name, declared in stack.api.gateway_responses.items():
        sent = {header.rpartition(".")[2] for header in declared["responseParameters"]}
        exposed = set(declared["responseParameters"][exposing].strip("'").split(", "))
        assert sent & {"Retry-After", "WWW-Authenticate", "X-Request-Id"} <= exposed, name


def test_without_the_parameter_no_page_may_call(client: httpx.Client, group: int) -> None:
    assert ask(client, COLLECTION, OURS).status_code == 404
    customer = create(client, group)
    for answer in (client.get(path_of(customer), headers={"Origin": OURS}), ask(client, COLLECTION, OURS)):
        assert not [name for name in answer.headers if name.lower().startswith(("access-control", "vary"))]
