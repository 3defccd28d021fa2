"""Nobody but the machine itself reaches the laptop cloud."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from tests.conftest import Service


def test_nothing_listens_beyond_the_loopback(service: Service) -> None:
    endpoints = json.loads((service.data / "endpoints.json").read_text())
    for url in (service.url, endpoints["dynamodb"], endpoints["aws"]):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host == "127.0.0.1"
        assert port is not None
        with socket.create_connection((host, port), timeout=5):
            pass
        # Another address of this machine: what listens on all of them answers here too.
        with pytest.raises(OSError, match=r"refused|unreachable|assign|timed out"):
            socket.create_connection(("127.0.0.2", port), timeout=5)
