"""Idempotency-Key: a repeated request gets the response of the first one, and changes nothing.

Powertools Idempotency keeps the responses. It cannot know whether a function that died had already written, but the
store can: the ids that it derives from the key make the second run find the rows of the first.

A response is encrypted with a key made from its request, which is not kept. Only a client that repeats the request can
open it, so it is not a readable copy of customers who may have been deleted in the meantime.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import zlib
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyItemAlreadyExistsError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.serialization.custom_dict import CustomDictSerializer
from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import ExternalIdTakenError, InvalidError, KeyReusedError, StillRunningError
from customers.http.problems import problem
from customers.http.request import PayloadTooLargeError, Response
from customers.store.identity import RequestName, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.http.request import Request

_REMEMBERED_SECONDS: Final = 24 * 60 * 60
_LIFE_ENDS_EARLIER: Final = 60

_MAX_KEPT: Final = 380_000
"""Characters of a response that fit into an item of 400 KB. A hundred customers always do. A list of errors may not; it
is then computed again."""


class _NotKeptError(Exception):
    """Carries a response past Powertools, which keeps nothing of a call that raises."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class _Sealer:
    """Compresses and encrypts the responses to one request; SHAKE-256 is the key stream.

    Parameters
    ----------
    secret
        What only the request itself contains.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def seal(self, response: Response) -> dict[str, str]:
        text = json.dumps([response.status, response.body, dict(response.headers)], ensure_ascii=False)
        # If a function died, a request may have two responses. They must not share a key stream.
        nonce = secrets.token_bytes(16)
        return {"sealed": base64.b85encode(nonce + self._masked(zlib.compress(text.encode()), nonce)).decode()}

    def open(self, kept: dict[str, str]) -> Response:
        raw = base64.b85decode(kept["sealed"])
        return Response(*json.loads(zlib.decompress(self._masked(raw[16:], raw[:16]))))

    def _masked(self, data: bytes, nonce: bytes) -> bytes:
        stream = hashlib.shake_256(nonce + self._secret).digest(len(data))
        return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))


class _Table(DynamoDBPersistenceLayer):
    """Powertools' table, whose calls are repeated if they fail for a temporary reason."""

    def _put_record(self, data_record: DataRecord) -> None:
        tries = 0

        def put() -> None:
            nonlocal tries
            tries += 1
            super(_Table, self)._put_record(data_record)

        try:
            call(put)
        except IdempotencyItemAlreadyExistsError as error:
            met = error.old_data_record
            # After a repetition, the record may be its own. Two requests in the same millisecond could both pass here;
            # then the store tells them apart.
            if (
                tries == 1
                or met is None
                or met.in_progress_expiry_timestamp != data_record.in_progress_expiry_timestamp
            ):
                raise

    def _update_record(self, data_record: DataRecord) -> None:
        call(lambda: super(_Table, self)._update_record(data_record))

    def _delete_record(self, data_record: DataRecord) -> None:
        call(lambda: super(_Table, self)._delete_record(data_record))


class AnswerKeeper:
    """The table of kept responses.

    Parameters
    ----------
    client, table
        Where it is.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table_name = table
        self._table = _Table(table_name=table, boto3_client=client)

    def once(self, request: Request, key: str, handle: Callable[[RequestName], Response]) -> Response:
        """Respond to a request, or return the first response again.

        Parameters
        ----------
        request
            The request.
        key
            Its Idempotency-Key. Each token has its own keys, which it shares with the tokens that replace it.
        handle
            Computes the response. It is called again if it did not finish the first time.

        Raises
        ------
        KeyReusedError
            The key was used for another request.
        StillRunningError
            The first request is still running.
        UnsupportedMediaTypeError
            The Content-Type is not JSON. This is not kept, so that the client can correct it and use the same key.
        StoreUnavailableError
            As `handle`, or because the table of kept responses does not respond. Nothing is kept.
        """
        request.check_media_type()
        sealer = _Sealer(f"{request.fingerprint('answer')} {key}")
        name = digest(request.authorizer.get("first_token_id", request.authorizer.get("token_id", "")), key)

        def work_out(*, asked: dict[str, str]) -> Response:
            request_name = RequestName(f"{asked['name']}-{self._life_of(asked['name'])}", asked["payload"])
            response = _answer(request, handle, request_name)
            if len(sealer.seal(response)["sealed"]) > _MAX_KEPT:
                raise _NotKeptError(response)
            return response

        answer = idempotent_function(
            work_out,
            data_keyword_argument="asked",
            persistence_store=self._table,
            config=IdempotencyConfig(
                event_key_jmespath="name",
                payload_validation_jmespath="payload",
                expires_after_seconds=_REMEMBERED_SECONDS,
                hash_function="sha256",
                lambda_context=request.lambda_context,  # type: ignore[arg-type]  # it comes untyped from Lambda
                response_hook=_replayed,  # type: ignore[arg-type]  # Powertools' type names its parameters
            ),
            output_serializer=CustomDictSerializer(to_dict=sealer.seal, from_dict=sealer.open),
            key_prefix="create",
        )
        try:
            response: Response = answer(asked={"name": name, "payload": digest(key, request.fingerprint())})
        except _NotKeptError as passed:
            return passed.response
        except IdempotencyValidationError:
            raise KeyReusedError from None
        except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError):
            raise StillRunningError from None
        except IdempotencyPersistenceLayerError as error:
            raise (error.__cause__ or error)  # noqa: B904 (it has its own cause)
        return response

    def _life_of(self, name: str) -> str:
        """Return the random word that a key has as long as it is remembered.

        All attempts of a request derive their ids from it. A request that uses the key another day gets another word.
        """
        now = int(time.time())
        item: dict[str, AttributeValueTypeDef] = {
            "id": {"S": f"life#{name}"},
            "life": {"S": secrets.token_urlsafe(12)},
            # Before the kept response expires, so that a request that counts as new does not find the old word.
            "expiration": {"N": str(now + _REMEMBERED_SECONDS - _LIFE_ENDS_EARLIER)},
        }
        try:
            call(
                lambda: self._client.put_item(
                    TableName=self._table_name,
                    Item=item,
                    ConditionExpression="attribute_not_exists(id) OR expiration < :now",
                    ExpressionAttributeValues={":now": {"N": str(now)}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            met: Any = error.response
            item = met["Item"]
        return str(item["life"]["S"])


def _answer(request: Request, handle: Callable[[RequestName], Response], name: RequestName) -> Response:
    try:
        return handle(name)
    except (InvalidError, PayloadTooLargeError, ExternalIdTakenError) as error:
        answer = problem(error, request)
        # A fingerprint has no headers, so a client may correct one and use the same key.
        if isinstance(error, InvalidError) and any("header" in each for each in error.errors):
            raise _NotKeptError(answer) from None
        # The others say what is wrong with the request, and are kept. What is not caught may pass, and is not.
        return answer


def _replayed(response: Response, _record: Any) -> Response:  # noqa: ANN401 (Powertools' type, which it does not export)
    return response._replace(headers={**response.headers, "Idempotency-Replayed": "true"})
