"""Let many clients write customers under the same few keys while things fail, and compare all the results.

Every request is sent once and has unique content. So each version in an event shows which request made it, and no
request may have made two.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from botocore.config import Config

from tools.benchmarks.reliability.history.run import counts, failing, ids_in_table, service_with_proxy
from tools.benchmarks.reliability.load import SESSION, http_client, running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

type Json = dict[str, Any]

_KEYS: Final = 50
_IMPATIENT: Final = 0.005
"""Seconds that one request in twenty waits for its response, which is then lost."""
_PATIENCE: Final = 90.0
_FILE_EVERY: Final = 2.0
_ROWS: Final = 10
_PATHS: Final = Config(s3={"addressing_style": "path"})
"""Names like bucket.127.0.0.1 do not resolve."""
_RUNS: Final = {"PUT": {"PUT": 1}, "PUT, PATCH, DELETE": {"PUT": 6, "PATCH": 3, "DELETE": 1}}
"""How often each method is used."""
_WITH_CUSTOMERS: Final = ("--parameter", "EventsWithPersonalData=true")


class Sent(NamedTuple):
    """A request, and what came back."""

    method: str
    key: str
    body: Json
    status: int | None
    """None if the response was lost."""
    answer: Json

    @property
    def in_doubt(self) -> bool:
        """Whether nobody knows if it was applied."""
        return self.status is None or self.status >= 500


class Change(NamedTuple):
    """What an event says about a customer."""

    action: str
    version: int
    customer: Json


class Clients:
    """Clients that write to the same keys at the same time.

    Parameters
    ----------
    url, token
        The service.
    methods
        How often each is used.
    seed
        For all random choices.
    """

    def __init__(self, url: str, token: str, methods: dict[str, int], seed: int) -> None:
        self.http = http_client(url, token, timeout=40)
        self._methods = methods
        self._seed = seed
        self._ids: dict[str, int] = {}
        self.sent: list[Sent] = []

    def work(self, clients: int, seconds: float) -> None:
        """Send requests until the time is up."""
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as threads:
            for one in [threads.submit(self._work_until, end, number) for number in range(clients)]:
                one.result()

    def import_files(self, folder: Path, over: threading.Event) -> None:
        """Put files with rows of some keys into the laptop's bucket. What is not imported by the end is lost."""
        running = json.loads((folder / "endpoints.json").read_text())
        choose = random.Random(self._seed)
        files = 0
        with closing(SESSION.client("s3", endpoint_url=running["aws"], config=_PATHS)) as s3:
            while not over.wait(_FILE_EVERY):
                files += 1
                keys = choose.sample(range(_KEYS), _ROWS)
                rows = [(f"key-{number}", _body(f"i{files}r{number}", number)) for number in keys]
                self.sent += [Sent("import", key, row, None, {}) for key, row in rows]
                lines = (json.dumps({**row, "external_id": key}) for key, row in rows)
                s3.put_object(
                    Bucket=running["outputs"]["ImportBucketName"], Key=f"imports/{files}.jsonl", Body="\n".join(lines)
                )

    def _work_until(self, end: float, number: int) -> None:
        choose = random.Random(self._seed * 1000 + number)
        turn = 0
        while time.monotonic() < end:
            turn += 1
            key = f"key-{choose.randrange(_KEYS)}"
            (method,) = choose.choices(list(self._methods), list(self._methods.values()))
            method = method if key in self._ids else "PUT"
            name = f"c{number}n{turn}"
            body = {"PUT": _body(name, turn), "PATCH": {"last_name": name}, "DELETE": {}}[method]
            self._send(method, key, body, _IMPATIENT if choose.randrange(20) == 0 else 40)

    def _send(self, method: str, key: str, body: Json, timeout: float) -> None:
        path = f"/api/customers/external/{key}" if method == "PUT" else f"/api/customers/{self._ids[key]}"
        try:
            answer = self.http.request(method, path, json=body or None, timeout=timeout)
        except httpx.TransportError:
            self.sent.append(Sent(method, key, body, None, {}))
            return
        shown: Json = answer.json()
        self.sent.append(Sent(method, key, body, answer.status_code, shown))
        if method == "PUT" and answer.is_success:
            self._ids[key] = shown["id"]


def _body(name: str, number: int) -> Json:
    return {"first_name": name, "last_name": "Doe", "email": f"{name}@example.com", "group_id": 1 + number % 3}


def problems_of(sent: Sequence[Sent], events: dict[int, list[Change]], now: dict[int, Json]) -> Iterator[str]:
    """Compare what was sent with the results, and describe everything that is wrong.

    Parameters
    ----------
    sent
        All requests.
    events
        By customer, without repetitions, in order.
    now
        The customers at the end, by id.
    """
    by_content = {tuple(sorted(one.body.items())): one for one in sent if one.body}
    used: Counter[tuple[tuple[str, Any], ...]] = Counter()
    made: dict[tuple[int, int], Json] = {}
    for customer_id, changes in events.items():
        before: Json = {}
        version = 0
        for change in changes:
            what = f"customer {customer_id}, version {change.version}"
            version += 1
            if change.version != version or (change.action == "created") == bool(before):
                yield f"{what}: {change.action}, after version {version - 1} {'of' if before else 'without'} a customer"
            version = change.version
            if change.action == "deleted":
                before = {}
                continue
            content = _content(change.customer, before, by_content.keys())
            used[content] += 1
            if content not in by_content or by_content[content].key != change.customer["external_id"]:
                yield f"{what}: nobody sent this"
            before = made[customer_id, version] = change.customer
        if now.get(customer_id, {}) != before:
            yield f"customer {customer_id}: the last event shows another customer than the table"
    yield from (f"customer {customer_id}: no event" for customer_id in now.keys() - events.keys())
    yield from (f"applied {times} times: {dict(content)}" for content, times in used.items() if times > 1)
    yield from _deletions(sent, events)
    keys = Counter(customer["external_id"] for customer in now.values())
    yield from (f"{number} customers of {key}" for key, number in keys.items() if number > 1)
    for one in sent:
        if one.status in {200, 201} and one.body and made.get((one.answer["id"], one.answer["version"])) != one.answer:
            yield f"acknowledged, but no event shows it: {one.answer}"


def _deletions(sent: Sequence[Sent], events: dict[int, list[Change]]) -> Iterator[str]:
    """Compare the number of each key's deletions with how many were acknowledged, or may have been applied."""
    deletes = [one for one in sent if one.method == "DELETE"]
    acknowledged = Counter(one.key for one in deletes if one.status == 200)
    in_doubt = Counter(one.key for one in deletes if one.in_doubt)
    changes = [one for some in events.values() for one in some if one.action == "deleted"]
    shown = Counter(one.customer["external_id"] for one in changes)
    for key in acknowledged.keys() | shown.keys():
        if not acknowledged[key] <= shown[key] <= acknowledged[key] + in_doubt[key]:
            yield f"{key}: {acknowledged[key]} deletions acknowledged, {in_doubt[key]} in doubt, {shown[key]} events"


def _content(after: Json, before: Json, known: Any) -> tuple[tuple[str, Any], ...]:  # noqa: ANN401 (a view of keys)
    """Return the body that made a version: a PATCH's if the rest is as in the version before, otherwise a PUT's."""
    patch = (("last_name", after["last_name"]),)
    same = all(before.get(name) == after[name] for name in ("first_name", "email", "group_id"))
    if same and patch in known:
        return patch
    return tuple(sorted((name, after[name]) for name in ("first_name", "last_name", "email", "group_id")))


def run_once(folder: Path, methods: dict[str, int], clients: int, seconds: float, seed: int) -> tuple[Json, list[str]]:
    """Let clients write while function processes are killed and calls are cut, restart, and compare.

    Returns
    -------
    tuple[Json, list[str]]
        Figures, and what is wrong.
    """
    done: Counter[str] = Counter()
    with service_with_proxy(folder, *_WITH_CUSTOMERS) as (target, url):
        writers = Clients(url, (folder / "token").read_text().strip(), methods, seed)
        over = threading.Event()
        with ThreadPoolExecutor(1) as importer:
            importing = importer.submit(writers.import_files, folder, over)
            try:
                with failing(target, ("kills", "cuts"), seed, done):
                    writers.work(clients, seconds)
            finally:
                over.set()
            importing.result()
    # Nothing from the first run continues: what has not been applied now never will be.
    with running_service(folder, *_WITH_CUSTOMERS) as (_, url), closing(writers.http):
        writers.http.base_url = httpx.URL(url)
        now = {one: writers.http.get(f"/api/customers/{one}").raise_for_status().json() for one in ids_in_table(folder)}
        events = _events(folder / "events.jsonl", now)
        wrong = list(problems_of(writers.sent, events, now))
        deadline = time.monotonic() + _PATIENCE
        for one, changes in events.items():
            wrong += _history(writers.http, one, changes, deadline)
    if len(now) > _KEYS or ("DELETE" not in methods and len(now) < _KEYS):
        wrong.append(f"{len(now)} customers of {_KEYS} keys")
    figures = {
        "clients, keys, seconds, seed": f"{clients}, {_KEYS}, {seconds:.0f}, {seed}",
        "faults": counts(done),
        "requests": f"{sum(one.method != 'import' for one in writers.sent):,}",
        "answers": counts(Counter(str(one.status or "lost") for one in writers.sent if one.method != "import")),
        "rows of imports": f"{sum(one.method == 'import' for one in writers.sent):,}",
        "writes of unknown outcome": f"{sum(one.in_doubt for one in writers.sent):,}",
        "versions": f"{sum(one.action != 'deleted' for changes in events.values() for one in changes):,}",
        "deletions": f"{sum(one.action == 'deleted' for changes in events.values() for one in changes):,}",
        "customers at the end": f"{len(now):,}",
        "wrong": str(len(wrong)),
    }
    return figures, wrong


def _events(file: Path, now: dict[int, Json]) -> dict[int, list[Change]]:
    """Wait for every customer's last change, and return the changes of each."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = _read(file)
        behind = [one for one, customer in now.items() if not found[one] or found[one][-1].customer != customer]
        behind += [one for one in found.keys() - now.keys() if found[one][-1].action != "deleted"]
        if not behind or time.monotonic() > deadline:
            return {customer_id: changes for customer_id, changes in found.items() if changes}
        time.sleep(0.2)


def _read(file: Path) -> defaultdict[int, list[Change]]:
    found: defaultdict[int, list[Change]] = defaultdict(list)
    seen: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        detail = event["detail"]
        if event["source"] == "customers" and detail["event_id"] not in seen:
            seen.add(detail["event_id"])
            action = event["detail-type"].removeprefix("Customer ")
            found[detail["customer_id"]].append(Change(action, detail["version"], detail["customer"]))
    return found


def _history(http: httpx.Client, customer_id: int, changes: Sequence[Change], deadline: float) -> Iterator[str]:
    """Compare a customer's history with the events since its last deletion, which erased earlier entries."""
    begins = max((index for index, one in enumerate(changes) if one.action == "deleted"), default=0)
    wanted = [(one.action, one.version) for one in changes[begins:]]
    while True:
        path = f"/api/customers/{customer_id}/history"
        entries: list[Json] = []
        query: Json = {"limit": 1000}
        while query.get("cursor", "") is not None:
            page = http.get(path, params=query).raise_for_status().json()
            entries += page["history"]
            query["cursor"] = page["next_cursor"]
        found = [(one["action"], one["version"]) for one in reversed(entries)]
        if found == wanted:
            return
        if time.monotonic() > deadline:
            yield f"customer {customer_id}: the history shows {found}, but the events {wanted}"
            return
        time.sleep(0.2)


def run(clients: int, seconds: float, seed: int, say: Callable[[str], None]) -> tuple[str, bool]:
    """Run once with PUT alone, and once with PATCH and DELETE too.

    Returns
    -------
    tuple[str, bool]
        A table, and whether nothing was wrong.
    """
    columns = []
    for name, methods in _RUNS.items():
        say(f"{name} with {clients} clients, seed {seed}: {seconds:.0f} s")
        with tempfile.TemporaryDirectory() as folder:
            figures, wrong = run_once(Path(folder), methods, clients, seconds, seed)
        for problem in wrong:
            say(problem)
        columns.append(figures)
    lines = [f"| | {' | '.join(_RUNS)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [f"| {label} | {' | '.join(column[label] for column in columns)} |" for label in columns[0]]
    return "\n".join(lines), all(column["wrong"] == "0" for column in columns)
