"""A call to DynamoDB is repeated only if that does no harm, and a failure is reported as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from customers.aws import dynamodb
from customers.aws.dynamodb import call
from customers.errors import OutcomeUnknownError, StoreUnavailableError
from tests.sending import before_sending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botocore.awsrequest import AWSPreparedRequest

AT = {"endpoint_url": "https://dynamodb.us-east-1.amazonaws.com"}


def answer(code: str, status: int = 400, *reasons: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "for a test"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    if reasons:
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, "PutItem")


NOT_CARRIED_OUT: dict[str, Exception] = {
    "throttled": answer("ThrottlingException"),
    "over the throughput": answer("ProvisionedThroughputExceededException"),
    "over the account's limit": answer("RequestLimitExceeded"),
    "too many operations on the table": answer("LimitExceededException"),
    "in a conflict": answer("TransactionConflictException"),
    "in progress": answer("TransactionInProgressException"),
    "throttled, by a server error": answer("ThrottlingException", 500),
    "cancelled by a conflict": answer("TransactionCanceledException", 400, "None", "TransactionConflict"),
    "cancelled by a throttle": answer("TransactionCanceledException", 400, "ThrottlingError"),
    "cancelled over the throughput": answer("TransactionCanceledException", 400, "ProvisionedThroughputExceeded"),
    "not connected": EndpointConnectionError(**AT),
    "not connected in time": ConnectTimeoutError(**AT),
}
"""Nothing was done, and the call may succeed in a moment."""

UNKNOWN: dict[str, Exception] = {
    "no response": ReadTimeoutError(**AT),
    "connection closed": ConnectionClosedError(**AT),
    "connection broken": HTTPClientError(error="reset"),
    "response broken off": ResponseStreamingError(error="incomplete"),
    "encryption broken off": SSLError(**AT, error=EOFError()),
    "server error": answer("InternalServerError", 500),
    "server error of another name": answer("SomethingNew", 502),
    "unavailable": answer("ServiceUnavailable", 503),
    "gateway's time is over": answer("504", 504),
}
"""It may have been done, or not."""

WRONG: dict[str, Exception] = {
    "a condition": answer("ConditionalCheckFailedException"),
    "a condition of a transaction": answer("TransactionCanceledException", 400, "None", "ConditionalCheckFailed"),
    "an invalid request": answer("ValidationException"),
    "no permission": answer("AccessDeniedException"),
    "no such table": answer("ResourceNotFoundException"),
    "a name like a refusal's": answer("ThrottlingExceptions"),
    "no credentials": NoCredentialsError(),
    "a bug": KeyError("id"),
}
"""A repetition would fail in the same way."""


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that were made, each at its longest."""
    made: list[float] = []
    monkeypatch.setattr("customers.aws.dynamodb.time.sleep", made.append)
    monkeypatch.setattr("customers.aws.dynamodb.random.uniform", lambda _, longest: longest)
    return made


class Operation:
    """An operation that fails with the given errors, and then succeeds. It counts its calls."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"


def each(kind: dict[str, Exception]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("error", kind.values(), ids=kind)


both = pytest.mark.parametrize("repeatable", [True, False])


@both
def test_what_succeeds_is_called_once(repeatable: bool, pauses: list[float]) -> None:  # noqa: FBT001
    operation = Operation()
    assert call(operation, repeatable=repeatable) == "done"
    assert (operation.calls, pauses) == (1, [])


@both
@each(NOT_CARRIED_OUT)
def test_what_was_not_carried_out_is_repeated(
    repeatable: bool,  # noqa: FBT001
    error: Exception,
    pauses: list[float],
) -> None:
    operation = Operation(error, error)
    assert call(operation, repeatable=repeatable) == "done"
    assert operation.calls == 3
    assert len(pauses) == 2


@both
@each(NOT_CARRIED_OUT)
def test_what_is_refused_three_times_is_unavailable_and_certainly_not_done(
    repeatable: bool,  # noqa: FBT001
    error: Exception,
    pauses: list[float],
) -> None:
    operation = Operation(*[error] * 4)
    with pytest.raises(StoreUnavailableError) as caught:
        call(operation, repeatable=repeatable)
    assert caught.type is StoreUnavailableError, "its outcome is known"
    assert caught.value.__cause__ is error
    assert operation.calls == 3
    assert len(pauses) == 2, "nobody waits after the last try"


@each(UNKNOWN)
def test_what_may_have_been_done_is_repeated_if_that_does_no_harm(error: Exception, pauses: list[float]) -> None:
    operation = Operation(error, error)
    assert call(operation) == "done"
    assert operation.calls == 3
    operation = Operation(*[error] * 4)
    with pytest.raises(StoreUnavailableError) as caught:
        call(operation)
    assert caught.type is StoreUnavailableError
    assert operation.calls == 3
    assert len(pauses) == 4


@each(UNKNOWN)
def test_what_may_have_been_done_is_otherwise_not_repeated_and_unknown(error: Exception, pauses: list[float]) -> None:
    operation = Operation(error)
    with pytest.raises(OutcomeUnknownError) as caught:
        call(operation, repeatable=False)
    assert caught.value.__cause__ is error
    assert (operation.calls, pauses) == (1, [])


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    "failures",
    [
        (NOT_CARRIED_OUT["throttled"], UNKNOWN["no response"]),
        (NOT_CARRIED_OUT["not connected"], NOT_CARRIED_OUT["throttled"], UNKNOWN["server error"]),
    ],
)
def test_a_write_is_unknown_as_soon_as_one_of_its_tries_is(failures: Sequence[Exception]) -> None:
    operation = Operation(*failures)
    with pytest.raises(OutcomeUnknownError):
        call(operation, repeatable=False)
    assert operation.calls == len(failures)


@both
@each(WRONG)
def test_what_would_fail_again_is_raised_as_it_is(
    repeatable: bool,  # noqa: FBT001
    error: Exception,
    pauses: list[float],
) -> None:
    operation = Operation(error)
    with pytest.raises(type(error)) as caught:
        call(operation, repeatable=repeatable)
    assert caught.value is error
    assert (operation.calls, pauses) == (1, [])


def test_the_pauses_grow_and_are_drawn(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(least: float, longest: float) -> float:
        drawn.append((least, longest))
        return 0.03

    monkeypatch.setattr("customers.aws.dynamodb.random.uniform", draw)
    call(Operation(*[NOT_CARRIED_OUT["throttled"]] * 2))
    # Clients that were refused together do not try again together.
    assert pauses == [0.03, 0.03]
    (first_least, first), (second_least, second) = drawn
    assert first_least == second_least == 0
    assert 0 < first < second < 1


def test_the_sdk_repeats_nothing_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would also repeat writes whose response was lost.
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = dynamodb.client()
    sent: list[object] = []

    def lose(request: AWSPreparedRequest) -> None:
        sent.append(request)
        raise ReadTimeoutError(**AT)

    before_sending(client, lose)
    with pytest.raises(ReadTimeoutError):
        client.get_item(TableName="t", Key={"id": {"N": "1"}})
    assert len(sent) == 1
