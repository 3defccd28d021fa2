"""The import functions with their cloud: one for all tests, as moto keeps one state for the whole process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from local.services.aws_server import make_queues_safe, send_events_as_s3_does
from tests.integration.import_cloud import ImportCloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.template.stack import Stack


@pytest.fixture(scope="session")
def cloud(engine: str, stack: Stack) -> Iterator[ImportCloud]:
    make_queues_safe()
    send_events_as_s3_does()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    cloud = ImportCloud(engine, f"http://{host}:{port}", stack)
    cloud.run()
    yield cloud
    server.stop()


@pytest.fixture(autouse=True)
def _no_events_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the events of one test out of the next."""
    yield
    # Another module has a fixture of this name, for another cloud.
    cloud = request.getfixturevalue("cloud") if "cloud" in request.fixturenames else None
    if isinstance(cloud, ImportCloud):
        cloud.events()


@pytest.fixture
def changes_of(engine: str) -> Callable[[int], list[dict[str, Any]]]:
    """Return the records of a customer's changes from the engine's stream."""
    streams = boto3.client(
        "dynamodbstreams",
        endpoint_url=engine,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False),
    )

    (stream,) = streams.list_streams(TableName="CustomersTable")["Streams"]
    arn = stream["StreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    # From now on: the engine is shared, and other tests have written many thousands of rows.
    start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST")

    def read(customer_id: int) -> list[dict[str, Any]]:
        iterator = start["ShardIterator"]
        found: list[Any] = []
        while records := (answer := streams.get_records(ShardIterator=iterator))["Records"]:
            found += [record for record in records if record["dynamodb"]["Keys"] == {"id": {"N": str(customer_id)}}]
            iterator = answer["NextShardIterator"]
        for record in found:
            # Lambda passes seconds.
            record["dynamodb"]["ApproximateCreationDateTime"] = record["dynamodb"][
                "ApproximateCreationDateTime"
            ].timestamp()
        return found

    return read
