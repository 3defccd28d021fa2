"""The import functions with their cloud: one for all tests, as moto keeps one state for the whole process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from local.services.aws_server import send_events_as_s3_does
from tests.integration.import_cloud import ImportCloud

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.template.stack import Stack


@pytest.fixture(scope="session")
def cloud(engine: str, stack: Stack) -> Iterator[ImportCloud]:
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
    """Keep the events of one test from the next."""
    yield
    # Another module has a fixture of this name, for another cloud.
    cloud = request.getfixturevalue("cloud") if "cloud" in request.fixturenames else None
    if isinstance(cloud, ImportCloud):
        cloud.events()
