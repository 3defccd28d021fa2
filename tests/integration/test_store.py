"""The store on a real engine whose network fails: each write takes place once, and the answer is true."""

from __future__ import annotations

import json
import random
import secrets
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.loaders import create_loader
from botocore.session import Session

from customers.aws import dynamodb
from customers.errors import (
    KeyReusedError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
    VersionMismatchError,
)
from customers.store.customers import CustomerStore
from customers.store.identity import ImportRow, RequestName, Source
from customers.store.items import now
from customers.store.pages import PageStore
from customers.store.rows import Outcome, RowStore
from tests.author import TESTER
from tests.conftest import running_engine, use_engine
from tests.sending import answer_to, before_sending, error_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.loaders import Loader
    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import Customer, NewCustomer
    from local.template.stack import Stack

type Hook = Callable[..., AWSResponse | None]
type Loss = type[ReadTimeoutError | ConnectionClosedError]

LONG: Final[Any] = {"first_name": '"' * 100, "last_name": "\\" * 100, "metadata": dict.fromkeys("abcd", '"' * 500)}
"""A customer that is long as JSON in JSON."""
LOSSES: Final = (ReadTimeoutError, ConnectionClosedError)
PAGE: Final = 1000


class Table:
    """The store under test, its network, which tests can break, and what tests see of its table."""

    def __init__(self, name: str, engine: DynamoDBClient) -> None:
        self.client = dynamodb.client()
        self.store = CustomerStore(self.client, name)
        self.pages = PageStore(self.client, name)
        self.rows = RowStore(self.client, name)
        # The first call reads the salt.
        self.rows.write(Source("warm-up", now()), {})
        self.group = random.randrange(1, 2**53)
        self.requests = 0
        self.name = name
        self._engine = engine
        self._faults: list[Hook] = []
        before_sending(self.client, self._send)

    def next(self, *faults: Hook) -> None:
        """Make the next requests fail, one after the other."""
        self.requests = 0
        self._faults = list(faults)

    def _send(self, request: AWSPreparedRequest) -> AWSResponse | None:
        self.requests += 1
        return self._faults.pop(0)(request) if self._faults else None

    def new(self, **changes: Any) -> NewCustomer:
        customer = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": self.group}
        return {**customer, **changes}  # type: ignore[typeddict-item]  # the test's own fields

    def create(self, **changes: Any) -> Customer:
        (customer,) = self.store.create([self.new(**changes)], TESTER)
        return customer

    def all(self) -> list[Customer]:
        page = self.pages.group(self.group, "age", descending=False, limit=PAGE, after=None)
        return [self.store.get(customer["id"]) for customer in page.customers]

    def delete_all_as_another(self) -> None:
        """Delete the group's customers as another client."""
        other = CustomerStore(dynamodb.client(), self.name)
        for customer in self.pages.group(self.group, "id", descending=False, limit=PAGE, after=None).customers:
            other.delete(customer["id"], None, TESTER)

    def write(self, customer_id: int, **values: str) -> None:
        """Write as another client."""
        self._engine.update_item(
            TableName=self.name,
            Key={"id": {"N": str(customer_id)}},
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in values),
            ExpressionAttributeValues={f":{name}": {"S": value} for name, value in values.items()},
        )


@pytest.fixture(scope="module")
def loader() -> Loader:
    """Return a loader that all tests share, so that the service's description is read only once."""
    return create_loader()


@pytest.fixture
def table(
    engine: str, stack: Stack, dynamodb: DynamoDBClient, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> Table:
    def session(**arguments: Any) -> Session:
        session = Session(**arguments)
        session.register_component("data_loader", loader)
        return session

    monkeypatch.setattr("customers.aws.session.Session", session)
    use_engine(monkeypatch, engine)
    monkeypatch.setattr("customers.aws.dynamodb.time.sleep", lambda _: None)
    return Table(stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"], dynamodb)


def lost_answer(loss: Loss) -> Hook:
    """Make a fault: the engine does what is asked, and its answer never arrives."""

    def send(request: AWSPreparedRequest) -> AWSResponse:
        URLLib3Session().send(request)
        raise loss(endpoint_url=request.url)

    return send


def lost_request(loss: Loss) -> Hook:
    """Make a fault: the request never arrives."""

    def send(request: AWSPreparedRequest) -> AWSResponse:
        raise loss(endpoint_url=request.url)

    return send


def refused_connection(request: AWSPreparedRequest) -> AWSResponse:
    """Fail before the request leaves."""
    raise EndpointConnectionError(endpoint_url=request.url)


lost_answers = pytest.mark.parametrize(
    "loss", [lost_answer(loss) for loss in LOSSES], ids=[loss.__name__ for loss in LOSSES]
)
lost_requests = pytest.mark.parametrize(
    "loss",
    [*(lost_request(loss) for loss in LOSSES), error_answer("InternalServerError", 500)],
    ids=[*(loss.__name__ for loss in LOSSES), "server error"],
)


@lost_answers
@pytest.mark.parametrize("count", [1, 2, 100])
def test_customers_whose_response_was_lost_are_created_once(count: int, table: Table, loss: Hook) -> None:
    table.next(loss)
    created = table.store.create([table.new(age=age) for age in range(count)], TESTER)
    assert table.requests == 2
    assert table.all() == created
    assert [(customer["age"], customer["version"]) for customer in created] == [(age, 1) for age in range(count)]


@lost_requests
def test_a_list_that_did_not_arrive_is_created_by_a_second_request(table: Table, loss: Hook) -> None:
    table.next(loss)
    created = table.store.create([table.new(age=age) for age in range(2)], TESTER)
    assert table.requests == 2
    assert table.all() == created


@lost_requests
def test_a_customer_that_may_not_have_arrived_is_not_reported_as_created(table: Table, loss: Hook) -> None:
    table.next(loss)
    with pytest.raises(OutcomeUnknownError):
        table.create()
    assert table.requests == 2
    assert table.all() == []


@lost_answers
def test_a_customer_deleted_before_its_creation_was_known_does_not_come_back(table: Table, loss: Hook) -> None:
    def lose_and_delete(request: AWSPreparedRequest) -> None:
        try:
            loss(request)
        finally:
            table.delete_all_as_another()

    table.next(lose_and_delete)
    with pytest.raises(OutcomeUnknownError):
        table.create()
    assert table.all() == []


@lost_answers
@pytest.mark.parametrize("versions", [None, [1], [1, 7]])
def test_a_change_whose_response_was_lost_is_applied_once(
    versions: Sequence[int] | None, table: Table, loss: Hook
) -> None:
    before = table.create(age=1)
    table.next(loss)
    after = table.store.update(before["id"], {"first_name": "Jane", "age": None}, versions, TESTER)
    assert table.requests == 2
    changed = {"first_name": "Jane", "age": None, "version": 2, "updated_at": after["updated_at"]}
    assert after == {**before, **changed}
    assert table.all() == [after]


@lost_answers
@pytest.mark.parametrize("versions", [None, [1], [1, 2, 3]])
def test_a_change_that_another_one_has_overwritten_is_neither_refused_nor_repeated(
    versions: Sequence[int] | None, table: Table, loss: Hook
) -> None:
    before = table.create(age=1)

    def lose_and_change(request: AWSPreparedRequest) -> None:
        try:
            loss(request)
        finally:
            CustomerStore(dynamodb.client(), table.name).update(before["id"], {"age": 3}, None, TESTER)

    table.next(lose_and_change)
    with pytest.raises(OutcomeUnknownError):
        table.store.update(before["id"], {"age": 2}, versions, TESTER)
    (after,) = table.all()
    assert (after["age"], after["version"]) == (3, 3)


@lost_requests
@pytest.mark.parametrize("versions", [None, [1]])
def test_a_change_that_may_not_have_arrived_is_not_reported_as_made(
    versions: Sequence[int] | None, table: Table, loss: Hook
) -> None:
    before = table.create(age=1)
    table.next(loss)
    with pytest.raises(OutcomeUnknownError):
        table.store.update(before["id"], {"age": 2}, versions, TESTER)
    assert table.requests == 2
    assert table.all() == [before]


@pytest.mark.parametrize("versions", [None, [1]])
def test_a_deletion_whose_response_was_lost_is_recognized(versions: Sequence[int] | None, table: Table) -> None:
    customer = table.create()
    table.next(lost_answer(ReadTimeoutError))
    table.store.delete(customer["id"], versions, TESTER)
    assert table.requests == 2
    assert table.all() == []


@pytest.mark.parametrize("versions", [None, [1]])
def test_a_deletion_that_did_not_arrive_is_not_reported_as_made(versions: Sequence[int] | None, table: Table) -> None:
    customer = table.create()
    table.next(lost_request(ReadTimeoutError))
    with pytest.raises(OutcomeUnknownError):
        table.store.delete(customer["id"], versions, TESTER)
    # A second deletion might hit what another client has created in the meantime.
    assert table.requests == 2
    assert table.all() == [customer]


@pytest.mark.parametrize("refusal", [refused_connection, error_answer("ThrottlingException")])
def test_a_write_that_was_certainly_not_carried_out_is_repeated(refusal: Hook, table: Table) -> None:
    table.next(refusal)
    before = table.create(age=1)
    assert table.requests == 2
    table.next(refusal)
    after = table.store.update(before["id"], {"age": 2}, [1], TESTER)
    assert (after["age"], after["version"], table.requests) == (2, 2, 2)
    table.next(refusal)
    table.store.delete(before["id"], [2], TESTER)
    assert table.requests == 2
    assert table.all() == []


@pytest.mark.parametrize("refusal", [refused_connection, error_answer("ThrottlingException")])
def test_a_write_that_is_refused_is_refused_also_when_it_is_repeated(refusal: Hook, table: Table) -> None:
    before = table.create(age=1)
    for write in (
        lambda: table.store.update(before["id"], {"age": 2}, [7], TESTER),
        lambda: table.store.delete(before["id"], [7], TESTER),
    ):
        table.next(refusal)
        with pytest.raises(VersionMismatchError) as caught:
            write()
        assert caught.value.current == 1
    assert table.all() == [before]
    table.store.delete(before["id"], None, TESTER)
    table.next(refusal)
    with pytest.raises(NotFoundError):
        table.store.update(before["id"], {"age": 2}, None, TESTER)
    assert table.all() == []


CALLS: Final[dict[str, Callable[[Table, int], object]]] = {
    "get": lambda table, customer_id: table.store.get(customer_id),
    "create one": lambda table, _: table.store.create([table.new()], TESTER),
    "create a list": lambda table, _: table.store.create([table.new(), table.new()], TESTER),
    "update": lambda table, customer_id: table.store.update(customer_id, {"age": 2}, None, TESTER),
    "delete": lambda table, customer_id: table.store.delete(customer_id, None, TESTER),
    "page": lambda table, _: table.pages.group(table.group, "id", descending=False, limit=1, after=None),
}
FAILURES: Final = {
    "throttled": error_answer("ThrottlingException"),
    "over the throughput": error_answer("ProvisionedThroughputExceededException"),
    "over the account's limit": error_answer("RequestLimitExceeded"),
    "server error": error_answer("InternalServerError", 500),
    "unavailable": error_answer("ServiceUnavailable", 503),
    "no answer": lost_request(ReadTimeoutError),
    "connection closed": lost_request(ConnectionClosedError),
}


UNKNOWN: Final = frozenset({"server error", "unavailable", "no answer", "connection closed"})
"""After these, a write may have been applied."""


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", CALLS)
def test_a_table_that_keeps_failing_is_unavailable_and_unchanged(call: str, failure: str, table: Table) -> None:
    customer = table.create()
    table.next(*[FAILURES[failure]] * 4)
    with pytest.raises(StoreUnavailableError) as raised:
        CALLS[call](table, customer["id"])
    # Its repetition by the client would be another write, so the client must know.
    in_doubt = failure in UNKNOWN and call not in {"get", "page"}
    assert isinstance(raised.value, OutcomeUnknownError) == in_doubt
    # A write that may have been applied is not sent again: the store looks for it instead.
    requests = {"create one": 4, "update": 4, "delete": 4}.get(call, 3) if failure in UNKNOWN else 3
    assert table.requests == requests
    table.next()
    assert table.all() == [customer]


@pytest.mark.parametrize("call", CALLS)
def test_a_table_that_refuses_once_is_asked_again(call: str, table: Table) -> None:
    customer = table.create()
    table.next(FAILURES["throttled"])
    CALLS[call](table, customer["id"])
    assert table.requests == 2


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_list_cancelled_for_a_passing_reason_is_unavailable(reason: str, table: Table) -> None:
    reasons = [{"Code": "None"}, {"Code": reason, "Message": "for a test"}]
    table.next(*[error_answer("TransactionCanceledException", CancellationReasons=reasons)] * 3)
    with pytest.raises(StoreUnavailableError):
        table.store.create([table.new(), table.new()], TESTER)
    assert table.all() == []


def test_what_does_not_pass_is_not_taken_for_unavailability(table: Table) -> None:
    table.next(error_answer("AccessDeniedException"))
    with pytest.raises(table.client.exceptions.ClientError, match="AccessDenied"):
        table.store.create([table.new()], TESTER)
    assert table.requests == 1


def drawing(monkeypatch: pytest.MonkeyPatch, *ids: int) -> None:
    draws = iter([customer_id - 1 for customer_id in ids])
    monkeypatch.setattr("customers.store.customers.secrets.randbelow", lambda _: next(draws))


def test_an_id_that_is_taken_is_drawn_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = table.create(age=1), table.create(age=2)
    drawing(monkeypatch, first["id"], second["id"], 2**53 - 1)
    third = table.create(age=3)
    try:
        assert third["id"] == 2**53 - 1
        assert table.all() == [first, second, third]
    finally:
        table.store.delete(third["id"], None, TESTER)


@lost_requests
def test_anothers_row_is_not_taken_for_a_customer_that_may_not_have_arrived(
    table: Table, loss: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table.create(age=1)
    drawing(monkeypatch, first["id"])
    table.next(loss)
    with pytest.raises(OutcomeUnknownError):
        table.create(age=2)
    assert table.all() == [first]


def test_a_list_with_an_id_that_is_taken_is_created_whole(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = table.create(age=0)
    drawing(monkeypatch, 2**53 - 2, taken["id"], 2**53 - 3, 2**53 - 4)
    created = table.store.create([table.new(age=1), table.new(age=2)], TESTER)
    try:
        assert {customer["id"] for customer in created} <= {2**53 - 2, 2**53 - 3, 2**53 - 4}
        assert table.all() == [taken, *created]
    finally:
        for customer in created:
            table.store.delete(customer["id"], None, TESTER)


def name_of(payload: str = "asked") -> RequestName:
    return RequestName(f"{random.getrandbits(256):064x}", payload)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_named_request_that_comes_again_gets_its_customers_as_they_are_by_now(count: int, table: Table) -> None:
    name, new = name_of(), [table.new(age=age) for age in range(count)]
    created = table.store.create(new, TESTER, name)
    changed = table.store.update(created[0]["id"], {"first_name": "Jane"}, None, TESTER)
    assert table.store.create(new, TESTER, name) == [changed, *created[1:]]
    assert table.all() == [changed, *created[1:]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_named_request_meets_its_rows_also_behind_ids_that_others_have(
    count: int, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, new = name_of(), [table.new(age=age) for age in range(count)]
    with monkeypatch.context() as patch:
        drawing(patch, name.id(count - 1, 0), name.id(count - 1, 1))
        others = [table.create(age=150) for _ in range(2)]
    created = table.store.create(new, TESTER, name)
    assert [customer["id"] for customer in created] == [
        *(name.id(index, 0) for index in range(count - 1)),
        name.id(count - 1, 2),
    ]
    assert table.store.create(new, TESTER, name) == created
    by_id = {customer["id"]: customer for customer in table.all()}
    assert by_id == {customer["id"]: customer for customer in [*created, *others]}


def test_a_name_that_comes_again_with_something_else_is_refused(table: Table) -> None:
    name = name_of()
    created = table.store.create([table.new()], TESTER, name)
    for new in ([table.new(age=1)], [table.new(), table.new()]):
        with pytest.raises(KeyReusedError):
            table.store.create(new, TESTER, name._replace(payload="something else"))
    assert table.all() == created


def test_a_name_is_known_however_old_its_rows_are(table: Table) -> None:
    name, new = name_of(), [table.new(age=1), table.new(age=2)]
    created = table.store.create(new, TESTER, name)
    for customer in created:
        table.write(customer["id"], created_at="2016-01-02T03:04:05.678Z")
    again = table.store.create(new, TESTER, name)
    assert again == table.all()
    assert [customer["id"] for customer in again] == [customer["id"] for customer in created]


def test_a_page_is_what_botocore_would_read(table: Table, dynamodb: DynamoDBClient) -> None:
    table.store.create([table.new(first_name='Zoë 😀 "\\', age=age) for age in (None, 0, 7, 150)], TESTER)
    after = None
    for _ in range(2):
        ours, generic = (
            pages.group(table.group, "age", descending=True, limit=2, after=after)
            for pages in (table.pages, PageStore(dynamodb, "CustomersTable"))
        )
        assert len(ours.customers) == 2
        assert ours == generic
        after = ours.next_position


def test_a_customer_is_what_botocore_would_read(table: Table, dynamodb: DynamoDBClient) -> None:
    (created,) = table.store.create([table.new(first_name='Zoë 😀 "\\', age=0)], TESTER)
    assert table.store.get(created["id"]) == CustomerStore(dynamodb, "CustomersTable").get(created["id"]) == created
    with pytest.raises(NotFoundError):
        table.store.get(created["id"] + 1)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>"])
def test_an_error_that_is_not_json_is_known_by_its_status(body: bytes, table: Table) -> None:
    table.next(*[lambda request: answer_to(request, body, 502)] * 3)
    with pytest.raises(StoreUnavailableError) as caught:
        table.store.get(1)
    assert isinstance(caught.value.__cause__, ClientError)
    assert caught.value.__cause__.response["Error"]["Code"] == "502"
    assert table.requests == 3


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_reads_whose_response_was_lost_is_read_again(loss: Loss, table: Table) -> None:
    customer = table.create()
    table.next(lost_answer(loss))
    row = ImportRow(table.new(age=7), customer["id"])
    assert table.rows.write(Source(secrets.token_hex(16), now()), {1: row}) == {1: "updated"}
    # Sent, sent again, and the update.
    assert table.requests > 2


def test_a_page_of_everybody_fits_into_a_response(
    tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_engine(tmp_path, stack) as url:
        use_engine(monkeypatch, url)
        client = dynamodb.client()
        store, pages = CustomerStore(client, "CustomersTable"), PageStore(client, "CustomersTable")
        new: Any = {**LONG, "email": "j@example.com", "group_id": 1}
        for _ in range(11):
            store.create([new] * 100, TESTER)
        seen, after = 0, None
        while seen == 0 or after is not None:
            found, after = pages.everybody(limit=1000, after=after)
            seen += len(found)
            assert len(json.dumps(json.dumps(found))) < 6_000_000
    assert seen == 1100


def test_entries_are_in_one_order_whatever_order_the_table_returns(table: Table) -> None:
    created = table.create(metadata={key: key for key in "kcbjaifhdeg"})
    for customer in (created, *(table.store.get(created["id"]) for _ in range(3)), *table.all()):
        assert "".join(customer.get("metadata", {})) == "abcdefghijk"


def test_an_error_of_a_page_is_read_as_ever(table: Table) -> None:
    with pytest.raises(table.client.exceptions.ResourceNotFoundException):
        PageStore(table.client, "no-such-table").group(1, "id", descending=False, limit=1, after=None)


IMPORTED: Final[dict[int, Outcome]] = {1: "created", 2: "created"}


def _import_two(table: Table) -> dict[int, Outcome]:
    rows = {number: ImportRow(table.new(age=number)) for number in (1, 2)}
    return table.rows.write(Source(secrets.token_hex(16), now()), rows)


@pytest.mark.parametrize("fault", [lost_answer, lost_request])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_whose_response_was_lost_is_imported_once(
    table: Table, fault: Callable[[Loss], Hook], loss: Loss
) -> None:
    table.next(fault(loss))
    assert _import_two(table) == IMPORTED
    assert table.requests > 1
    assert [customer["age"] for customer in table.all()] == [1, 2]


def test_a_batch_that_is_refused_for_now_is_sent_again(table: Table) -> None:
    table.next(error_answer("ThrottlingException"))
    assert _import_two(table) == IMPORTED
    assert table.requests == 2


def test_what_is_wrong_with_a_batch_is_told(table: Table) -> None:
    table.next(error_answer("ValidationException"))
    with pytest.raises(ClientError, match="ValidationException"):
        _import_two(table)


def half(request: AWSPreparedRequest) -> AWSResponse:
    """Make a fault: the engine does what is asked, and its answer breaks off."""
    answer = URLLib3Session().send(request)
    return answer_to(request, answer.content[:20])


def test_what_has_an_answer_that_breaks_off_is_done_once(table: Table) -> None:
    table.next(half)
    assert _import_two(table) == IMPORTED
    assert [customer["age"] for customer in table.all()] == [1, 2]
    created = table.all()[0]
    table.next(half)
    assert table.store.update(created["id"], {"age": 9}, None, TESTER)["version"] == 2
    table.next(half)
    assert table.store.get(created["id"])["age"] == 9
    assert table.requests == 2
