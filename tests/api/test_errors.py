"""Every error, including the gateway's own, is a problem (RFC 9457) that says what to do."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from customers.tokens import SCOPES, Scope, new_token
from tests.api.support import (
    COLLECTION,
    Stopped,
    any_group,
    assert_invalid,
    assert_problem,
    create,
    customer_body,
    descendants,
    engine_of,
    function_processes,
    group_path,
    path_of,
    remaining,
    wait_until,
    walk,
)
from tests.conftest import running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.api.conftest import Tables
    from tests.conftest import Service

NOBODYS_GROUP = any_group()
CALLS: tuple[tuple[str, str, Scope], ...] = (
    ("GET", "/api/customers/1", "customers:read"),
    ("GET", group_path(NOBODYS_GROUP), "customers:read"),
    ("GET", "/api/customers/external/nobody", "customers:read"),
    ("POST", "/api/customers/", "customers:write"),
    ("PUT", "/api/customers/external/nobody", "customers:write"),
    ("PATCH", "/api/customers/1", "customers:write"),
    ("DELETE", "/api/customers/1", "customers:delete"),
)
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
SCOPE_SETS = [scopes for size in range(len(SCOPES) + 1) for scopes in combinations(SCOPES, size)]
MIB = 1024 * 1024


def assert_unauthorized(response: httpx.Response) -> None:
    assert_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def padded(body: object, size: int) -> bytes:
    return json.dumps(body).encode().ljust(size)


# 401


def test_no_call_goes_without_a_token(tables: Tables) -> None:
    with tables.caller(None) as caller:
        for method, path, _ in CALLS:
            assert_unauthorized(caller.request(method, path))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic dXNlcjpwYXNzd29yZA==",
        "cust_",
        "Bearer {token}x",
        "Bearer x{token}",
        "Basic {token}",
        "Token {token}",
        "Bearer{token}",
        "Bearer {token} {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer Bearer {token}",
        'Bearer "{token}"',
    ],
)
def test_a_malformed_token_is_unauthorized(service: Service, tables: Tables, header: str) -> None:
    with tables.caller(None) as caller:
        authorization = header.format(token=service.token)
        assert_unauthorized(caller.get("/api/customers/1", headers={"Authorization": authorization}))


def test_a_token_with_a_mistyped_character_is_unauthorized(service: Service, tables: Tables) -> None:
    for position in (5, 20, 47, 49, 54):
        wrong = "A" if service.token[position] != "A" else "B"
        with tables.caller(service.token[:position] + wrong + service.token[position + 1 :]) as caller:
            assert_unauthorized(caller.get("/api/customers/1"))


def test_a_token_never_given_out_is_unauthorized(tables: Tables) -> None:
    with tables.caller(new_token()) as caller:
        assert_unauthorized(caller.get("/api/customers/1"))


def test_an_expired_token_is_unauthorized(tables: Tables) -> None:
    with tables.caller(tables.new_token(expires_at=int(time.time()) - 1)) as caller:
        assert_unauthorized(caller.get("/api/customers/1"))


def test_a_token_that_expires_later_is_valid(tables: Tables) -> None:
    with tables.caller(tables.new_token(expires_at=int(time.time()) + 3600)) as caller:
        assert_problem(caller.get("/api/customers/1"), 404)


def test_a_revoked_token_is_unauthorized(tables: Tables) -> None:
    token = tables.new_token()
    tables.revoke(token, int(time.time()) - 1)
    with tables.caller(token) as caller:
        assert_unauthorized(caller.get("/api/customers/1"))


def test_a_token_to_be_revoked_later_is_valid_until_then(tables: Tables) -> None:
    token = tables.new_token()
    tables.revoke(token, int(time.time()) + 3600)
    with tables.caller(token) as caller:
        assert_problem(caller.get("/api/customers/1"), 404)


# 403


@pytest.mark.parametrize("scopes", SCOPE_SETS, ids=lambda scopes: "+".join(scopes) or "none")
def test_a_token_may_call_what_its_scopes_name_and_nothing_else(tables: Tables, scopes: tuple[Scope, ...]) -> None:
    with tables.caller(tables.new_token(scopes)) as caller:
        for method, path, scope in CALLS:
            for spelling in (path.rstrip("/"), path.rstrip("/") + "/"):
                response = caller.request(method, spelling, content=b"" if method in WITH_BODY else None)
                if scope in scopes:
                    # There is no customer 1, and an empty body is not JSON.
                    assert_problem(response, 400 if method in WITH_BODY else 404)
                else:
                    assert_problem(response, 403)


def test_a_forbidden_write_changes_nothing(client: httpx.Client, tables: Tables, group: int) -> None:
    customer = create(client, group)
    with tables.caller(tables.new_token(["customers:read"])) as reader:
        assert_problem(reader.patch(path_of(customer), json={"first_name": "Jane"}), 403)
        assert_problem(reader.delete(path_of(customer)), 403)
        assert_problem(reader.post(COLLECTION, json=customer_body(group)), 403)
        assert walk(reader, group, age="true") == [customer]


# 404, 405


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/customer/1",
        "/API/customers/1",
        "/api/Customers/1",
        "/api//customers/1",
        "/api/customers//",
        "/api/customers/1//",
        "/api/customers/1/2",
        "/api/customers/group/1/2",
        "/api/customers/Group/1",
        "/api/customers/gruppe/1/",
        "/prod/api/customers/1",
        "/favicon.ico",
        "/%C3%A9l%22%5C",
    ],
)
def test_an_unknown_path_is_not_found(client: httpx.Client, method: str, path: str) -> None:
    assert_problem(client.request(method, path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/api/customers/1") for method in ("PUT", "POST", "OPTIONS", "BREW")),
        *((method, "/api/customers/") for method in ("PUT", "PATCH", "DELETE", "OPTIONS")),
        *((method, "/api/customers/external/a") for method in ("POST", "PATCH", "DELETE", "OPTIONS")),
        *((method, "/api/customers/group/1/") for method in ("PUT", "POST", "PATCH", "DELETE", "OPTIONS")),
    ],
)
def test_a_method_that_a_path_lacks_is_refused(client: httpx.Client, method: str, path: str) -> None:
    for spelling in (path.rstrip("/"), path.rstrip("/") + "/"):
        # API Gateway answers as for an unknown path. The contract's 405 is for gateways that can tell the two apart.
        assert_problem(client.request(method, spelling), 404)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_customer_that_is_not_there_is_not_found(client: httpx.Client, method: str) -> None:
    assert_problem(client.request(method, f"/api/customers/{any_group()}"), 404)


# Every answer


def test_every_answer_has_a_request_id_of_its_own(client: httpx.Client, group: int) -> None:
    customer = create(client, group)
    answers = [
        client.post(COLLECTION, json=customer_body(group)),
        client.get(path_of(customer)),
        client.get(path_of(customer), headers={"If-None-Match": '"1"'}),
        client.get(group_path(group)),
        client.patch(path_of(customer), json={"age": 1}),
        client.delete(path_of(customer)),
        client.delete(path_of(customer)),
        client.put(path_of(customer)),
    ]
    assert [answer.status_code for answer in answers[:7]] == [201, 200, 304, 200, 200, 200, 404]
    assert all(answer.headers["X-Request-Id"] for answer in answers)
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


def test_a_request_id_that_a_client_sends_is_not_taken_over(client: httpx.Client) -> None:
    response = client.get("/api/customers/1", headers={"X-Request-Id": "mine", "X-Amzn-RequestId": "mine"})
    assert_problem(response, 404)
    assert response.headers["X-Request-Id"] != "mine"


def test_the_path_in_a_problem_cannot_break_its_json(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/api/customers/%22%2C%22x%22%3A%22%0A"), 404)
    assert "x" not in problem


# 413


@pytest.mark.parametrize("size", [MIB + 1, 5 * MIB, 6 * MIB + 1, 10 * MIB, 10 * MIB + 1, 12 * MIB])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/customers/", customer_body(1)),
        ("POST", "/api/customers?size=list", {"customers": [customer_body(1)]}),
        ("PATCH", "/api/customers/1", {"age": 1}),
        ("PUT", "/api/customers/external/nobody", customer_body(1)),
    ],
)
def test_a_body_over_the_limit_is_too_large(
    client: httpx.Client, method: str, path: str, body: object, size: int
) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(client.request(method, path, content=padded(body, size), headers=headers), 413)


def test_a_body_of_the_limit_is_taken(client: httpx.Client, group: int) -> None:
    response = client.post(COLLECTION, content=padded(customer_body(group), MIB))
    assert response.status_code == 201


def test_a_hundred_customers_of_the_longest_fields_are_not_too_large(client: httpx.Client, group: int) -> None:
    row = {
        "first_name": "😀" * 100,
        "last_name": "ﷺ" * 100,
        "email": f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com",
        "group_id": group,
        "age": 150,
    }
    response = client.post(COLLECTION, params={"size": "list"}, json={"customers": [row] * 100})
    assert response.status_code == 201
    assert {customer["first_name"] for customer in walk(client, group)} == {"😀" * 100}


# 429


def test_a_throttled_call_is_told_when_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("throttled")
    parameters = ("--parameter", "ThrottleRate=1", "--parameter", "ThrottleBurst=1")
    with running_service(data, "--in-memory", *parameters) as service, service.client() as client:
        answers = (client.get("/api/customers/1") for _ in range(50))
        throttled = next(answer for answer in answers if answer.status_code != 404)
        assert_problem(throttled, 429)
        pause = int(throttled.headers["Retry-After"])
        assert 1 <= pause <= 10
        # This waits for nothing in particular: it does what the answer says.
        time.sleep(pause)
        assert_problem(client.get("/api/customers/1"), 404)


# 503 and 500


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service that tests may harm, with its tables on disk."""
    with running_service(tmp_path_factory.mktemp("harmed")) as running:
        yield running


@pytest.fixture(scope="module")
def own_client(own_service: Service) -> Iterator[httpx.Client]:
    with own_service.client() as client:
        yield client


def assert_unavailable(response: httpx.Response) -> None:
    problem = assert_problem(response, 503)
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert_tells_nothing(response)
    assert "errors" not in problem


def assert_tells_nothing(response: httpx.Response) -> None:
    text = response.text.lower()
    for internal in ("table", "traceback", "exception", "botocore", "dynamo", "lambda", ".py", "cust_", "127.0.0.1"):
        assert internal not in text
    assert response.elapsed.total_seconds() < 20


def test_a_store_that_hangs_makes_every_endpoint_unavailable_until_it_is_back(
    own_service: Service, own_client: httpx.Client, group: int
) -> None:
    kept, deleted = create(own_client, group), create(own_client, group)
    other_group = any_group()
    calls: list[Callable[[], httpx.Response]] = [
        lambda: own_client.get(path_of(kept)),
        lambda: own_client.get(group_path(group)),
        lambda: own_client.patch(path_of(kept), json={"age": 7}),
        lambda: own_client.delete(path_of(deleted)),
        lambda: own_client.post(COLLECTION, json=customer_body(other_group)),
        lambda: own_client.post(
            COLLECTION, params={"size": "list"}, json={"customers": [customer_body(other_group)] * 3}
        ),
    ]
    with Stopped(engine_of(own_service)), ThreadPoolExecutor(len(calls)) as threads:
        for answer in [threads.submit(call) for call in calls]:
            assert_unavailable(answer.result())
    # Calls that timed out may still have been carried out: each at most once, and the list as a whole.
    after = own_client.get(path_of(kept)).json()
    assert (after["version"], after["age"]) in {(1, None), (2, 7)}
    patched = own_client.patch(path_of(kept), json={"first_name": "Jane"}).json()
    assert patched["version"] in {after["version"] + 1, 3}
    assert own_client.get(path_of(kept)).json() == patched
    assert own_client.get(path_of(deleted)).status_code in {200, 404}
    found = own_client.get(group_path(other_group))
    assert found.status_code == 404 or len(found.json()["customers"]) in {1, 3, 4}


def test_a_token_that_cannot_be_looked_up_is_unavailable_and_not_unauthorized(
    own_service: Service, tables_of: Callable[[Service], Tables]
) -> None:
    tables = tables_of(own_service)
    token = tables.new_token()
    with tables.caller(token) as caller:
        with Stopped(engine_of(own_service)):
            assert_unavailable(caller.get("/api/customers/1"))
        assert_problem(caller.get("/api/customers/1"), 404)


def test_an_engine_that_dies_comes_back_with_everything(
    own_service: Service, own_client: httpx.Client, group: int
) -> None:
    customer = create(own_client, group)
    engine = engine_of(own_service)
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: not remaining([engine]))
    wait_until(lambda: own_client.get(path_of(customer)).status_code == 200)
    assert own_client.get(path_of(customer)).json() == customer
    assert walk(own_client, group, age="true") == [customer]


def test_a_function_that_dies_at_work_is_an_internal_error_and_the_next_call_succeeds(
    own_service: Service, own_client: httpx.Client, group: int
) -> None:
    customer = create(own_client, group)
    assert own_client.get(path_of(customer)).status_code == 200
    processes = function_processes(own_service, "GetCustomer")
    assert processes
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(own_client.get, path_of(customer))
        # It cannot be answered. After this second, it is with the function.
        assert not wait([answer], timeout=1).done
        for process in processes:
            os.kill(process, signal.SIGKILL)
        response = answer.result()
    assert_problem(response, 500)
    assert_tells_nothing(response)
    assert own_client.get(path_of(customer)).json() == customer


def test_what_is_unforeseen_is_an_internal_error_that_tells_nothing_and_logs_no_person(
    tmp_path_factory: pytest.TempPathFactory, tables_of: Callable[[Service], Tables], group: int
) -> None:
    names = {"first_name": "Zebulonia", "last_name": "Quastenflosser", "email": "coelacanth@deep.example.com"}
    calls: list[Callable[[httpx.Client], httpx.Response]] = [
        lambda client: client.get("/api/customers/1"),
        lambda client: client.get(group_path(group)),
        lambda client: client.patch("/api/customers/1", json=names),
        lambda client: client.delete("/api/customers/1"),
        lambda client: client.post(COLLECTION, json={**names, "group_id": group}),
        lambda client: client.post(
            COLLECTION, params={"size": "list"}, json={"customers": [{**names, "group_id": group}]}
        ),
    ]
    data = tmp_path_factory.mktemp("broken")
    with running_service(data, "--in-memory") as service, service.client() as client:
        tables = tables_of(service)
        customer = create(client, group, **names)
        assert client.patch(path_of(customer), json=names).status_code == 200
        assert_invalid(client.patch(path_of(customer), json={**names, "age": "1"}), ("#/age", "wrong_type"))
        tables.client.update_table(TableName=tables.customers, DeletionProtectionEnabled=False)
        tables.client.delete_table(TableName=tables.customers)
        answers = [call(client) for call in calls]
        logs = "".join(file.read_text(errors="replace") for file in (service.data / "logs").iterdir())
    for answer in answers:
        assert_problem(answer, 500)
        assert_tells_nothing(answer)
        assert answer.headers["X-Request-Id"] in logs
    for secret in (*names.values(), service.token):
        assert secret.lower() not in logs.lower()


def test_a_token_revoked_is_refused_at_once_where_nothing_is_cached(
    tmp_path_factory: pytest.TempPathFactory, tables_of: Callable[[Service], Tables]
) -> None:
    data = tmp_path_factory.mktemp("uncached")
    with running_service(data, "--in-memory", "--parameter", "AuthorizerCacheSeconds=0") as service:
        tables = tables_of(service)
        token = tables.new_token()
        with tables.caller(token) as caller:
            assert_problem(caller.get("/api/customers/1"), 404)
            tables.revoke(token, int(time.time()) - 1)
            assert_unauthorized(caller.get("/api/customers/1"))
        # The service's own token is never cached either: every call asks the store.
        with service.client() as client:
            assert_problem(client.get("/api/customers/1"), 404)
            with Stopped(engine_of(service)):
                assert_unavailable(client.get("/api/customers/1"))
            assert_problem(client.get("/api/customers/1"), 404)
        assert len(descendants(service.process.pid)) >= 3
