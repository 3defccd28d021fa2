"""Requests that nobody should send: none may cause a 5xx, leave a stack trace in a log, or make a process grow."""

from __future__ import annotations

import http.client
import json
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from tests.api.support import descendants
from tools.benchmarks.reliability.load import running_service
from tools.benchmarks.reliability.trials import JOHN

if TYPE_CHECKING:
    from collections.abc import Callable

_METHODS: Final = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "get", "FOO")
_TEXTS: Final = (
    *("", " ", "\x00", "\x1b[2J", "\u202e", "é", "e\u0301", "ﷺ" * 20, "😀" * 50, "a" * 101, "A" * 5000, "\ud800"),
    *("NaN", "null", "' OR 1=1 --", "$ne", "../../etc/passwd", "<script>", "{{7*7}}", "%00", "\r\nX: y", "1e400"),
    *("-0", "0x10", "\uff11\uff12", "\u0661"),
)
_NUMBERS: Final = (0, -1, 1, 1.5, 1e308, 2**53, 2**53 - 1, 2**63, 10**400, -(2**63), True, None, 150, 151)
_TRACE: Final = re.compile(r'Traceback|File "|"(?:stack_trace|exception)"|\.py", line')
_WARM: Final = 0.2
"""Share of the requests after which no process should grow any more."""


class Requests:
    """Makes up requests."""

    def __init__(self, seed: int, token: str, ids: list[int]) -> None:
        self._random = random.Random(seed)
        self._token = token
        self._ids = ids

    def next(self) -> tuple[str, str, dict[str, str], bytes]:
        """Return the method, target, headers and body of the next request."""
        pick = self._random.choice
        method = pick(_METHODS) if self._one_in(4) else pick(("GET", "POST", "PATCH", "DELETE"))
        path = self._path(method)
        query = self._query(method) if self._one_in(2) else ""
        headers = {"Authorization": f"Bearer {self._token}"}
        if self._one_in(20):
            headers["Authorization"] = self._latin(
                pick(("", "Bearer", "Basic x", self._token[:-1], self._token * 2, *_TEXTS))
            )
        for name in ("If-Match", "If-None-Match", "Idempotency-Key", "Content-Encoding", "Expect", "X-Forwarded-For"):
            if self._one_in(8):
                values = ("*", '"1"', 'W/"1"', '"1", "2"', '"' * 9, ",".join(f'"{n}"' for n in range(200)), *_TEXTS)
                headers[name] = self._latin(pick(values)) if name != "Expect" else "100-continue"
        body = b""
        if method in {"POST", "PATCH", "PUT"} or self._one_in(10):
            body = self._body()
            if self._one_in(3):
                kinds = (
                    "application/json",
                    "application/merge-patch+json",
                    "text/plain",
                    "application/json; charset=utf-16",
                )
                headers["Content-Type"] = self._latin(pick((*kinds, "application/json;" * 50, *_TEXTS)))
        return method, path + query, headers, body

    def _one_in(self, number: int) -> bool:
        return self._random.randrange(number) == 0

    def _latin(self, text: str) -> str:
        """Return a text as a header can carry it."""
        return re.sub(r"[\r\n\x00]", "", text.encode("utf-8", "surrogatepass").decode("latin-1"))

    def _path(self, method: str) -> str:
        pick = self._random.choice
        odd = (*map(str, _NUMBERS), *(quote(text, errors="replace") for text in _TEXTS))
        segment = str(pick(self._ids)) if self._one_in(2) else pick(odd)
        if method == "POST":
            return pick(("/api/customers", "/api/customers/", "/api/customers/", f"/api/customers/{segment}"))
        if self._one_in(15):
            return pick(
                ("/", "//", "/api", "/api/customers/group/", "/api/customers/%2e%2e/", "/%", "/" + "a/" * 500, "*")
            )
        return pick(
            (f"/api/customers/{segment}", f"/api/customers/group/{segment}/", f"/api/customers/group/{segment}")
        )

    def _query(self, method: str) -> str:
        pick = self._random.choice
        names = ("size", "on_error", "dry_run") if method == "POST" else ("sort", "order", "age", "limit", "cursor")
        values = (
            "one",
            "list",
            "keep",
            "abort",
            "true",
            "false",
            "id",
            "email",
            "asc",
            "desc",
            "1",
            "1000",
            "1001",
            *_TEXTS,
        )
        pairs = []
        for _ in range(self._random.randrange(1, 4)):
            name = pick((*names, *names, *_TEXTS))
            pairs.append(f"{quote(name, errors='replace')}={quote(pick(values), errors='replace')}")
        return "?" + "&".join(pairs) + pick(("", "", "", "&", "&=", "&a", "&%", "#x"))

    def _value(self, depth: int = 0) -> Any:  # noqa: ANN401 (JSON)
        pick = self._random.choice
        match self._random.randrange(8 if depth < 3 else 4):
            case 0 | 1:
                return pick(_TEXTS)
            case 2 | 3:
                return pick(_NUMBERS)
            case 4:
                return [self._value(depth + 1) for _ in range(self._random.randrange(5))]
            case 5:
                return {
                    pick((*_TEXTS, "id", "email")): self._value(depth + 1) for _ in range(self._random.randrange(5))
                }
            case _:
                return self._customer()

    def _customer(self) -> Any:  # noqa: ANN401 (JSON)
        customer: dict[str, Any] = {**JOHN, "group_id": 1, "age": 30}
        for _ in range(self._random.randrange(3)):
            name = self._random.choice((*customer, "id", "version", *_TEXTS))
            if self._one_in(3):
                customer.pop(name, None)
            else:
                customer[name] = self._value(2)
        return customer

    def _body(self) -> bytes:  # noqa: PLR0911 (one for each way to spoil it)
        pick = self._random.choice
        if self._one_in(6):
            value: Any = {"customers": [self._customer() for _ in range(pick((0, 1, 3, 100, 101)))]}
        else:
            value = pick((self._customer(), self._customer(), self._value()))
        try:
            body = json.dumps(value, ensure_ascii=self._one_in(2)).encode("utf-8", "surrogatepass")
        except ValueError:
            # An integer too long for Python to write.
            body = b"1" * 5000
        match self._random.randrange(16):
            case 0:
                return body[: self._random.randrange(len(body) + 1)]
            case 1:
                return pick((b"", b"\xff", b"\xef\xbb\xbf" + body, body.decode("utf-8", "replace").encode("utf-16")))
            case 2:
                at = self._random.randrange(len(body) + 1)
                return body[:at] + self._random.randbytes(3) + body[at:]
            case 3:
                return b'{"first_name": "a", "first_name": "b", "age": NaN, "email": Infinity}'
            case 4:
                return pick((b"[" * 5000, b'{"a":' * 5000, b"[" * 100 + b"]" * 100))
            case 5 if self._one_in(20):
                return b'{"first_name": "' + b"x" * 1_100_000 + b'"}'
        return body


class Findings:
    """What the answers show."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()

    def take(self, method: str, response: http.client.HTTPResponse, body: bytes) -> None:
        """Check one answer."""
        self.statuses[response.status] += 1
        if response.status >= 500:
            self.wrong[f"{method} {response.status}"] += 1
        if not response.getheader("X-Request-Id"):
            self.wrong["no X-Request-Id"] += 1
        if response.status >= 400 and method != "HEAD":
            problem = json.loads(body)
            complete = {"type", "title", "status", "detail", "instance", "request_id"} <= problem.keys()
            if not complete or response.getheader("Content-Type") != "application/problem+json":
                self.wrong["not a complete problem"] += 1


def send(address: str, requests: Requests, number: int, findings: Findings) -> None:
    """Send some requests, one after another."""
    connection = http.client.HTTPConnection(address, timeout=60)
    for _ in range(number):
        method, target, headers, body = requests.next()
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                connection.putheader(name, value.encode("latin-1"))
            # A server may answer and hang up before it has all of a body that it does not want.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body)
            response = connection.getresponse()
            findings.take(method, response, response.read())
        except http.client.InvalidURL:
            # The client refused to send it.
            connection.close()
        except (http.client.HTTPException, OSError) as error:
            findings.wrong[type(error).__name__] += 1
            connection.close()
        except ValueError:
            findings.wrong["not JSON"] += 1
            connection.close()


def sizes(service: int) -> dict[tuple[str, int], int]:
    """Return the kilobytes in memory of a service's process and its children, by their kind and process id."""
    kinds = {"functions": ":function:", "engine": "dynoxide", "S3, SQS and EventBridge": "aws_server"}
    what = {
        child.pid: kind for child in descendants(service) for kind, mark in kinds.items() if mark in child.command
    } | {service: "gateway"}
    listed = subprocess.run(  # noqa: S603 (the system's)
        ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, what))],  # noqa: S607 (likewise)
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        (what[int(pid)], int(pid)): int(size) for pid, size in (line.split() for line in listed.stdout.splitlines())
    }


def run(requests: int, seed: int, say: Callable[[str], None]) -> tuple[str, bool]:
    """Send requests. Return a table, and whether all is well."""
    findings, at_once = Findings(), 8
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with running_service(data) as (process, url):
            token, address = (data / "token").read_text().strip(), urlsplit(url).netloc
            connection = http.client.HTTPConnection(address)
            ids = []
            for _ in range(5):
                row = json.dumps({**JOHN, "group_id": 1})
                connection.request("POST", "/api/customers/", row, {"Authorization": token})
                ids.append(json.loads(connection.getresponse().read())["id"])
            senders = [Requests(seed + number, token, ids) for number in range(at_once)]
            warm: dict[tuple[str, int], int] = {}
            started = time.monotonic()
            with ThreadPoolExecutor(at_once) as threads:
                for share in (_WARM, 1 - _WARM):
                    number = round(requests * share / at_once)
                    for one in [threads.submit(send, address, sender, number, findings) for sender in senders]:
                        one.result()
                    warm = warm or sizes(process.pid)
                    say(f"{findings.statuses.total():,} requests")
            seconds = time.monotonic() - started
            end = sizes(process.pid)
            logs = "".join(log.read_text(errors="replace") for log in (data / "logs").iterdir())
    traces = len(_TRACE.findall(logs))
    growth: dict[str, float] = {}
    for key, size in warm.items():
        growth[key[0]] = max(growth.get(key[0], 0), end.get(key, 0) / size)
    rows = [
        ("requests, seed", f"{findings.statuses.total():,}, {seed}"),
        ("requests a second", f"{findings.statuses.total() / seconds:.0f}"),
        ("answers", ", ".join(f"{number:,} × {status}" for status, number in sorted(findings.statuses.items()))),
        ("5xx", str(sum(number for status, number in findings.statuses.items() if status >= 500))),
        ("answers that the contract does not allow", str(dict(findings.wrong) or 0)),
        ("log lines with a stack trace", str(traces)),
        (
            f"memory of a process at the end, by that after {_WARM:.0%}",
            ", ".join(f"{kind} at most {factor:.2f}" for kind, factor in sorted(growth.items())),
        ),
    ]
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
    return table, not (findings.wrong or traces or growth["functions"] > 1.2 or growth["gateway"] > 1.2)
