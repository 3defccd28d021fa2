"""Only the machine itself can reach the laptop cloud."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
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
        # Another address of this machine: a server that listens on all addresses would answer here too.
        with pytest.raises(OSError, match=r"refused|unreachable|assign|timed out"):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_no_web_page_may_read_what_moto_holds(service: Service) -> None:
    url = json.loads((service.data / "endpoints.json").read_text())["aws"]
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    for answer in (httpx.get(url, headers=asked), httpx.options(url, headers=asked)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
