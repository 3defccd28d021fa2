"""Hands the changes of tables to functions, as Lambda's pollers of DynamoDB streams do.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from local.errors import FunctionError, InvocationError
from local.events.poller import Poller
from local.events.queues import failed_messages
from local.template.document import REGION

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

    from local.runtime.functions import FunctionPool
    from local.template.event_resources import StreamConsumer

_PAUSE: Final = 0.25
"""Seconds between two polls of a stream: Lambda polls four times a second."""
_FIRST_RETRY_PAUSE: Final = 0.2
_LONGEST_RETRY_PAUSE: Final = 10.0
_MAX_INVOCATION: Final = 960.0
"""Seconds: Lambda's longest Timeout, and time to wait for a free process."""

type _Record = dict[str, Any]


class StreamPoller(Poller):
    """Hands the changes of one table to one function, in order.

    The position is kept in a file, because the engine keeps its streams across restarts.

    Parameters
    ----------
    consumer
        Which table and function, and how.
    pool
        The function.
    engine
        The URL of the table's engine.
    sqs
        Client of the server with the queue that is told which changes could not be processed.
    folder
        Where the position is kept.
    """

    def __init__(self, consumer: StreamConsumer, pool: FunctionPool, engine: str, sqs: SQSClient, folder: Path) -> None:
        super().__init__(f"the stream of {consumer.table}", consumer.function)
        self._consumer = consumer
        self._pool = pool
        self._sqs = sqs
        folder.mkdir(exist_ok=True)
        self._file = folder / f"{consumer.name}.json"
        self._streams: Any = boto3.client(
            "dynamodbstreams",
            region_name=REGION,
            endpoint_url=engine,
            # Placeholders that the engine does not check. Its ids are shorter than the client's validation allows.
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106
            config=Config(
                connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 1}, parameter_validation=False
            ),
        )
        self._streams.meta.events.register("before-parse.dynamodb-streams.GetRecords", _take_records)

    def _look(self) -> None:
        """Follow the newest stream of the table. In the engine, each stream has one shard."""
        arn = self._streams.list_streams(TableName=self._consumer.table)["Streams"][-1]["StreamArn"]
        shard = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][-1]["ShardId"]
        iterator = self._streams.get_shard_iterator(StreamArn=arn, ShardId=shard, **self._start(arn))
        position = iterator["ShardIterator"]
        while not self._closing.is_set():
            answer = self._streams.get_records(ShardIterator=position, Limit=self._consumer.batch_size)
            records: list[_Record] = [_as_in_events(record, arn) for record in answer["Records"]]
            if records:
                self._deliver(records, {"shardId": shard, "streamArn": arn})
                if self._closing.is_set():
                    return
                self._keep({"stream": arn, "sequence_number": records[-1]["dynamodb"]["SequenceNumber"]})
            else:
                self._closing.wait(_PAUSE)
            position = answer["NextShardIterator"]

    def _keep(self, position: dict[str, str]) -> None:
        # Whole or not at all, however this process ends.
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{json.dumps(position)}\n", encoding="ascii")
        partial.replace(self._file)

    def _start(self, arn: str) -> Any:  # noqa: ANN401 - arguments of GetShardIterator
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="ascii"))
            if kept["stream"] == arn:
                return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": kept["sequence_number"]}
        return {"ShardIteratorType": self._consumer.starting_position}

    def _deliver(self, records: list[_Record], where: dict[str, str]) -> None:
        """Invoke the function until each record is handled or given up."""
        tries, pause = 0, _FIRST_RETRY_PAUSE
        while records and not self._closing.is_set():
            oldest = time.time() - self._consumer.max_age if self._consumer.max_age > 0 else 0.0
            if old := [r for r in records if r["dynamodb"]["ApproximateCreationDateTime"] < oldest]:
                self._give_up(old, where, "RecordAgeExceeded", tries)
                records = records[len(old) :]
                continue
            left, reported = self._invoke(records)
            if left and len(left) == len(records):
                tries += 1
                if 0 <= self._consumer.max_retries < tries:
                    self._give_up(left, where, "RetryAttemptsExhausted", tries)
                    return
                self._closing.wait(pause)
                pause = min(pause * 2, _LONGEST_RETRY_PAUSE)
                if self._consumer.bisects and not reported and len(left) > 1:
                    middle = len(left) // 2
                    self._deliver(left[:middle], where)
                    left, tries = left[middle:], 0
            else:
                tries, pause = 0, _FIRST_RETRY_PAUSE
            records = left

    def _invoke(self, records: list[_Record]) -> tuple[list[_Record], bool]:
        """Return the records from the first failed one on, and whether the function itself reported the failure."""
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        event = json.dumps({"Records": records}, ensure_ascii=False).encode()
        try:
            result = self._pool.invoke(event, _MAX_INVOCATION)
        except InvocationError as error:
            if not self._closing.is_set():
                # Not the error's text, which may quote a change. It is in the function's log.
                cause = error.error_type if isinstance(error, FunctionError) else type(error).__name__
                self._say(f"{cause}: {len(records)} changes of {self._consumer.table} will be retried")
            return records, False
        failed = failed_messages(result, set(numbers)) if self._consumer.partial_failures else set()
        if failed is None:
            self._say("its batchItemFailures are malformed, so the whole batch will be retried")
            return records, False
        return records[min(map(numbers.index, failed)) if failed else len(records) :], True

    def _give_up(self, records: list[_Record], where: dict[str, str], condition: str, tries: int) -> None:
        self._say(f"{len(records)} changes of {self._consumer.table} were given up: {condition}")
        if self._consumer.on_failure is None:
            return
        changes = [record["dynamodb"] for record in records]
        times = [_iso(change["ApproximateCreationDateTime"]) for change in (changes[0], changes[-1])]
        # https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
        message = {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": self._consumer.function_arn,
                "condition": condition,
                "approximateInvokeCount": tries,
            },
            "version": "1.0",
            "timestamp": _iso(time.time()),
            "DDBStreamBatchInfo": {
                **where,
                "startSequenceNumber": changes[0]["SequenceNumber"],
                "endSequenceNumber": changes[-1]["SequenceNumber"],
                "approximateArrivalOfFirstRecord": times[0],
                "approximateArrivalOfLastRecord": times[1],
                "batchSize": len(records),
            },
        }
        self._sqs.send_message(QueueUrl=self._consumer.on_failure.url, MessageBody=json.dumps(message))


def _take_records(response_dict: _Record, customized_response_dict: _Record, **_: object) -> None:
    """Keep records in their JSON form, which events use too. botocore would convert each value."""
    if response_dict["status_code"] == 200:  # noqa: PLR2004
        answer = json.loads(response_dict["body"])
        customized_response_dict["Records"] = answer.pop("Records", [])
        response_dict["body"] = json.dumps(answer).encode()


def _as_in_events(record: _Record, arn: str) -> _Record:
    return {**record, "awsRegion": REGION, "eventSourceARN": arn}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
