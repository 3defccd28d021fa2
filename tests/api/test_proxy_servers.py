"""The service behind nginx and Apache as people set them up: they compress everything, and have a cache."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.api.support import COLLECTION, customer_body, wait_until
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Service

PROGRAMS: Final = ROOT / ".venv/proxies/usr"
NGINX: Final = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/temp;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/cache keys_zone=all:1m;
  gzip on;
  gzip_proxied any;
  gzip_types application/json application/problem+json;
  server {{
    listen 127.0.0.1:{port};
    location /storable {{
      proxy_pass {storable};
      proxy_cache all;
    }}
    location / {{
      proxy_pass {url};
      proxy_cache all;
      add_header X-Cache $upstream_cache_status always;
      # Where it caches, nginx leaves these out of a GET.
      proxy_set_header If-Match $http_if_match;
      proxy_set_header If-None-Match $http_if_none_match;
    }}
  }}
}}
"""
APACHE: Final = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog /dev/stderr
User nobody
Group nogroup
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule cache_module {modules}/mod_cache.so
LoadModule cache_disk_module {modules}/mod_cache_disk.so
AddOutputFilterByType DEFLATE application/json application/problem+json
CacheRoot {folder}/cache
CacheEnable disk /
CacheHeader on
ProxyPass /storable {storable}/storable
ProxyPass / {url}/
"""
COMMANDS: Final = {
    "nginx": ["sbin/nginx", "-p", "{folder}", "-c", "{folder}/configuration"],
    "apache": ["sbin/apache2", "-D", "FOREGROUND", "-f", "{folder}/configuration"],
}

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "sbin").exists() and "CI" not in os.environ, reason="nginx and Apache are not to be had here"
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


class Storable(BaseHTTPRequestHandler):
    """Sends an answer that may be stored, to show that the cache stores what it may."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


@pytest.fixture(scope="module")
def storable() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Storable) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def running_proxy(name: str, service: Service, storable: str, folder: Path) -> Iterator[httpx.Client]:
    """Run a proxy in front of a service until the block ends."""
    port = free_port()
    for place in (folder, folder / "cache"):
        place.mkdir(exist_ok=True)
        # If root starts them, they go on as another user.
        place.chmod(0o777)
    modules = PROGRAMS / "lib/apache2/modules"
    configuration = {"nginx": NGINX, "apache": APACHE}[name]
    text = configuration.format(folder=folder, port=port, url=service.url, modules=modules, storable=storable)
    (folder / "configuration").write_text(text, encoding="ascii")
    program, *arguments = COMMANDS[name]
    libraries = ":".join(str(found) for found in (PROGRAMS / "lib").glob("*-linux-gnu"))
    with subprocess.Popen(
        [PROGRAMS / program, *(argument.format(folder=folder) for argument in arguments)],
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
    ) as process:
        headers = {"Authorization": f"Bearer {service.token}", "Accept-Encoding": "gzip"}
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=40) as client:
                wait_until(lambda: answers(client))
                yield client
        finally:
            process.terminate()
            process.wait(20)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/customers/1").status_code == 404
    except httpx.TransportError:
        return False


def stored(cache: Path) -> list[Path]:
    return [file for file in cache.rglob("*") if file.is_file()]


@pytest.fixture(params=["nginx", "apache"])
def proxied(request: pytest.FixtureRequest, service: Service, storable: str) -> Iterator[tuple[httpx.Client, Path]]:
    # Not pytest's folder, which only the user who runs pytest may enter.
    with (
        tempfile.TemporaryDirectory() as folder,
        running_proxy(request.param, service, storable, Path(folder)) as client,
    ):
        yield client, Path(folder) / "cache"


def test_a_tag_that_came_through_a_compressing_proxy_is_good_for_a_change(
    proxied: tuple[httpx.Client, Path], group: int
) -> None:
    client, _ = proxied
    created = client.post(COLLECTION, json=customer_body(group, first_name="x" * 100, last_name="y" * 100))
    path = created.headers["Location"]
    read = client.get(path)
    assert read.headers["Content-Encoding"] == "gzip"
    # This shows that the proxies change the tag, which the service has to accept.
    assert read.headers["ETag"] in {'W/"1"', '"1-gzip"'}
    assert client.get(path, headers={"If-None-Match": read.headers["ETag"]}).status_code == 304
    changed = client.patch(path, json={"age": 1}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert client.patch(path, json={"age": 2}, headers={"If-Match": read.headers["ETag"]}).status_code == 412
    assert client.delete(path, headers={"If-Match": changed.headers["ETag"]}).status_code == 200


def test_a_caching_proxy_stores_nothing(proxied: tuple[httpx.Client, Path], group: int) -> None:
    client, cache = proxied
    path = client.post(COLLECTION, json=customer_body(group)).headers["Location"]
    for _ in range(3):
        answer = client.get(path)
        assert "HIT" not in answer.headers.get("X-Cache", "")
    assert client.head(path).status_code == 200
    client.get(f"/api/customers/group/{group}")
    client.get("/api/customers/1")
    assert stored(cache) == []
    # The cache works. (Apache does not use its cache for a request with a token.)
    assert httpx.get(client.base_url.join("/storable")).status_code == 200
    wait_until(lambda: stored(cache) != [])
