"""The HTTP server: waitress on the loopback, with gateway responses instead of its own error pages."""

from __future__ import annotations

import errno
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, get_header_lines
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask

from local.errors import LocalError
from local.gateway.gateway import RAW_HEADERS, header_list, reason
from local.gateway.proxy import encoded_path
from local.gateway.request_log import Call, RequestLog

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from local.cloud import Cloud

HOST: Final = "127.0.0.1"
# Bytes of headers and of a body that are read. Far above the gateway's limits, which it checks itself: if a request is
# refused unread, many clients see a broken connection instead of the answer.
_MAX_HEADERS: Final = 256 * 1024
_MAX_BODY: Final = 64 * 1024 * 1024
_CONNECTIONS: Final = 1000
_ARRIVAL: Final = 10
"""Seconds that a request may take to arrive, and a connection may be idle."""
_THREADS: Final = 64
"""Many more than the processes of one function, so that a slow function does not hold up requests to the others."""
_DRAIN: Final = 2
"""Seconds that running requests get at the end."""


class _Parser(HTTPRequestParser):
    """Keeps the headers as they were sent."""

    raw_headers: list[tuple[str, str]]

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        # waitress would wait for a body that nobody sends.
        self.expect_continue = self.expect_continue and bool(self.chunked or self.content_length)
        headers = header_list(get_header_lines(header_plus.partition(b"\r\n")[2]))
        if self.version == "1.1" and [name.lower() for name, _ in headers].count("host") != 1:
            raise ParsingError("an HTTP/1.1 request must have exactly one Host (RFC 9112, section 3.2)")
        # waitress drops names with an underscore, which WSGI would confuse with others.
        self.raw_headers = [(name, value) for name, value in headers if "_" not in name]


class _Task(WSGITask):
    """Hands the headers to the application."""

    @property
    def has_body(self) -> bool:
        """Whether the response's length matters. For a HEAD, nobody knows the length of the GET's response."""
        request: Any = self.request
        return request.command != "HEAD" and bool(super().has_body)

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        request: Any = self.request
        environ[RAW_HEADERS] = request.raw_headers
        return environ


def bind(port: int) -> socket.socket:
    """Listen on a port of the loopback. 0 is any free port.

    Raises
    ------
    LocalError
        If the port cannot be used.
    """
    listening = socket.socket()
    # So that a restart need not wait until old connections are forgotten.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise LocalError(f"port {port} is in use. Choose another: PORT=… make run") from error
        raise LocalError(f"port {port}: {error.strerror}. Choose another: PORT=… make run") from error
    return listening


def _channel_class(cloud: Cloud, lines: RequestLog) -> type[HTTPChannel]:
    """Return a class of connections whose malformed requests are answered by the cloud."""

    class ErrorResponse(ErrorTask):
        """Answers a malformed request, or one that failed in the gateway itself."""

        def execute(self) -> None:
            request: Any = self.request
            path = encoded_path(getattr(request, "request_uri", "/"))
            response = cloud.http_error(request.error.code, path)
            self.status = f"{response.status} {reason(response.status)}"
            self.response_headers = list(response.headers)
            self.set_close_on_finish()
            self.content_length = len(response.body)
            self.write(response.body)
            lines.write(getattr(request, "command", ""), str(response.status), 0, Call(cloud.shown_path(path)))

    class Channel(HTTPChannel):
        """A connection."""

        parser_class = _Parser
        task_class = _Task
        error_task_class = ErrorResponse

        def handle_read(self) -> None:
            # waitress closes idle connections. A client could keep one open with a few bytes now and then, so while a
            # request arrives, the time counts from its first byte.
            began = self.last_activity if self.request is not None else None
            super().handle_read()
            if began is not None and self.request is not None:
                self.last_activity = began

    return Channel


class Server:
    """Serves a cloud over HTTP until it is closed.

    Parameters
    ----------
    cloud
        Answers requests that are not well formed.
    application
        Answers all other requests: the cloud, and what is served beside it.
    listening
        The socket from `bind`.
    log
        Where to write a line for each request. None for nowhere.
    """

    def __init__(
        self, cloud: Cloud, application: WSGIApplication, listening: socket.socket, log: TextIO | None
    ) -> None:
        lines = RequestLog(log, max(map(len, cloud.functions)))
        server: Any = create_server(
            lines.around(application),
            sockets=[listening],
            threads=_THREADS,
            connection_limit=_CONNECTIONS,
            channel_timeout=_ARRIVAL,
            cleanup_interval=1,
            max_request_header_size=_MAX_HEADERS,
            max_request_body_size=_MAX_BODY,
            clear_untrusted_proxy_headers=False,
            ident=None,
            server_name=HOST,
            asyncore_use_poll=True,
        )
        server.channel_class = _channel_class(cloud, lines)
        self._dispatcher = server.task_dispatcher
        # A daemon, so that the process ends when the main thread does.
        self._thread = threading.Thread(target=server.run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give running requests a moment to end, then stop."""
        self._dispatcher.shutdown(timeout=_DRAIN)
