"""What `make run` says and keeps: a line for each request, a data folder that is its user's alone, and clear errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from customers.tokens import new_token
from tests.conftest import ROOT, STOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = Path(__file__).with_name("local_app")
SMALL = ("--quiet", "--template", str(APP / "template.yaml"))
PATIENCE = 120
NEW: dict[str, Any] = {
    "first_name": "Johanna",
    "last_name": "Doerr",
    "email": "johanna.doerr@example.com",
    "group_id": 1,
}
NOBODY = 65_534


class Run(NamedTuple):
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    out: Path
    errors: Path

    def printed(self) -> dict[str, str]:
        return dict(line.split(maxsplit=1) for line in self.out.read_text().splitlines() if " " in line)

    def client(self) -> httpx.Client:
        token = Path(self.printed()["token"]).read_text().strip()
        return httpx.Client(base_url=self.url, timeout=40, headers={"Authorization": f"Bearer {token}"})


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(folder: Path, data: Path, *arguments: str, umask: int = 0o022) -> Iterator[Run]:
    """Run the service, its output in files of a folder, until the block ends."""
    out, errors = folder / "out", folder / "errors"
    with out.open("wb") as output, errors.open("wb") as error_output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
            stdout=output,
            stderr=error_output,
            umask=umask,
        )
    try:
        until(lambda: "ready" in out.read_text() or process.poll() is not None)
        assert process.poll() is None, errors.read_text()
        yield Run(process, re.findall(r"^ready +(\S+)$", out.read_text(), re.MULTILINE)[0], out, errors)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def refused(data: Path, *arguments: str) -> str:
    """Start a service that cannot start; give what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "DATA_DIR=" in done.stderr
    return done.stderr


def test_each_request_is_a_line_that_shows_who_answered_and_nobodys_name(tmp_path: Path) -> None:
    stranger = new_token()
    with running(tmp_path, tmp_path / "data") as run:
        with run.client() as client:
            created = client.post("/api/customers/", json=NEW).json()
            assert client.get(f"/api/customers/{created['id']}").status_code == 200
            assert client.get(f"/api/customers/{created['id']}").status_code == 200
            assert client.get("/api/customers/johanna.doerr@example.com").status_code == 404
            assert client.get("/api/johanna", params={"email": NEW["email"], "doerr": ""}).status_code == 404
            assert client.get("/api/customers/1", headers={"Authorization": ""}).status_code == 401
            assert client.get("/api/customers/1", headers={"Authorization": f"Bearer {stranger}"}).status_code == 401
            for method in ("GET", "HEAD"):
                answer = client.request(method, "/")
                assert (answer.status_code, httpx.URL(answer.headers["Location"]).path) == (302, "/docs/")
            assert client.get("/docs/problems.html").status_code == 200
            assert client.get("/problems/johanna").status_code == 302
            token = client.headers["Authorization"].removeprefix("Bearer ")
        address = httpx.URL(run.url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"GET /johanna x y\r\n\r\n")
            assert b" 400 " in connection.recv(100)
        until(lambda: run.errors.read_text().count("\n") >= 12)
        text = run.errors.read_text()
    fields = [line.split() for line in text.splitlines()]
    assert [(words[0], words[1], words[4:]) for words in fields] == [
        ("POST", "201", ["CreateCustomers", "cold", "/api/customers/"]),
        ("GET", "200", ["GetCustomer", "cold", f"/api/customers/{created['id']}"]),
        ("GET", "200", ["GetCustomer", "warm", f"/api/customers/{created['id']}"]),
        ("GET", "404", ["GetCustomer", "warm", "/api/customers/…"]),
        ("GET", "404", ["gateway", "/api/…?…"]),
        ("GET", "401", ["gateway", "/api/customers/1"]),
        ("GET", "401", ["Authorize", "warm", "/api/customers/1"]),
        ("GET", "302", ["docs", "/"]),
        ("HEAD", "302", ["docs", "/"]),
        ("GET", "200", ["docs", "/docs/problems.html"]),
        ("GET", "302", ["docs", "/problems/…"]),
        ("…", "400", ["gateway", "/"]),
    ]
    assert all(words[2].isdecimal() and words[3] == "ms" for words in fields)
    assert len({line.index(" ms ") for line in text.splitlines()}) == 1
    assert not re.search(r"johanna|doerr|example|cust_", text, re.IGNORECASE)
    assert token not in text


def test_a_throttled_request_is_a_line_and_none_is_if_quiet(tmp_path: Path) -> None:
    arguments = ("--template", str(APP / "template.yaml"), "--parameter", "Burst=0")
    with running(tmp_path, tmp_path / "data", *arguments) as run:
        assert httpx.get(f"{run.url}/things/1", timeout=40).status_code == 429
        until(lambda: "\n" in run.errors.read_text())
    assert re.fullmatch(r"GET +429 +\d+ ms +gateway +/things/1\n", run.errors.read_text())
    with running(tmp_path, tmp_path / "data", *arguments, "--quiet") as run:
        assert httpx.get(f"{run.url}/things/1", timeout=40).status_code == 429
    assert {"address", "data", "ready"} <= run.printed().keys()
    assert run.errors.read_text() == ""


def test_a_template_that_the_kept_tables_cannot_follow_is_told_and_the_one_before_is_served(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(APP, app)
    template = app / "template.yaml"
    before = template.read_text(encoding="utf-8")
    after = before.replace("AttributeName: id", "AttributeName: number").replace("/things/latest", "/things/newest")
    assert after.count("AttributeName: number") == 2
    data = tmp_path / "data"
    with running(tmp_path, data, "--quiet", "--template", str(template)) as run:
        template.write_text(after, encoding="utf-8")
        until(lambda: "\n" in run.errors.read_text())
        latest = httpx.get(f"{run.url}/things/latest", headers={"Authorization": "good"}, timeout=40)
        assert latest.json()["event"]["resource"] == "/things/latest"
    (line,) = run.errors.read_text().splitlines()
    assert line.startswith("the template's change is not served: Table: the template changes the key")
    assert "./customers reset" in line
    assert "Table: the template changes the key" in refused(data, "--template", str(template))


def test_in_memory_begins_empty_and_leaves_alone_what_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    apart = data / "in-memory"
    with running(tmp_path, data) as run, run.client() as client:
        kept = client.post("/api/customers/", json=NEW).json()
        until(lambda: list((data / "streams").glob("*.json")))
    (data / "import-bucket" / "imports" / "later.csv").write_text("first_name,last_name,email,group_id\n")

    def contents() -> dict[str, bytes]:
        files = (file for file in data.rglob("*") if file.is_file() and "in-memory" not in file.parts)
        return {str(file): file.read_bytes() for file in files}

    before = contents()
    with running(tmp_path, data, "--in-memory") as run, run.client() as client:
        assert Path(run.printed()["token"]) == apart / "token"
        first = (apart / "token").read_bytes()
        assert first != (data / "token").read_bytes()
        assert client.post("/api/customers/", json=NEW).status_code == 201
        (apart / "import-bucket" / "imports" / "now.csv").write_text("first_name,last_name,email,group_id\n")
        until(lambda: list((apart / "import-bucket" / "reports").rglob("summary.json")))
        run.process.kill()
    with running(tmp_path, data, "--in-memory") as run, run.client() as client:
        assert (apart / "token").read_bytes() != first
        assert client.get("/api/customers/group/1/").status_code == 404
        assert not list((apart / "import-bucket").rglob("*.*"))
    assert not apart.exists()
    assert contents() == before
    with running(tmp_path, data) as run, run.client() as client:
        assert client.get(f"/api/customers/{kept['id']}").json() == kept
        until(lambda: list((data / "import-bucket" / "reports").rglob("summary.json")))


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert f"{file} is a file, and the data needs a folder" in refused(file / below)
    assert file.read_text() == "mine"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory, where that is allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_data_folder_on_a_read_only_disk_is_told(tmp_path: Path, below: str) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        assert "is on a read-only file system" in refused(disk / below)


@pytest.mark.parametrize("size", ["16k", "20m"])
def test_a_full_disk_is_told(tmp_path: Path, size: str) -> None:
    with mounted(tmp_path / "disk", f"size={size}") as disk:
        assert f"the disk that holds {disk} is full" in refused(disk)
        assert f"the disk that holds {disk / 'sub'} is full" in refused(disk / "sub")


def test_a_data_folder_where_nobody_may_write_is_told() -> None:
    # Not even root writes there.
    assert "error: /proc/customers-data" in refused(Path("/proc/customers-data"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_of_somebody_else_is_told() -> None:
    assert "you are not allowed to write to" in refused(Path("/customers-data"))


def test_a_disk_that_fills_up_is_told_once_and_the_service_is_back_when_there_is_space(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "size=70m") as disk,
        running(tmp_path, disk / "data", "--quiet") as run,
        run.client() as client,
    ):
        assert client.post("/api/customers/", json=NEW).status_code == 201
        fill(disk / "filler")
        until(lambda: "is full, so writes fail" in run.errors.read_text())
        (disk / "filler").unlink()
        until(lambda: client.post("/api/customers/", json=NEW).status_code == 201)
        assert run.process.poll() is None
        assert run.errors.read_text().count("is full") == 1


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 16)):
            pass


@pytest.mark.parametrize("gone", [".", "dynamodb.sqlite", "lock"])
def test_a_service_whose_data_are_taken_away_says_so_and_stops(tmp_path: Path, gone: str) -> None:
    data = tmp_path / "data"
    with running(tmp_path, data, *SMALL) as run:
        if gone == ".":
            data.rename(tmp_path / "elsewhere")
            shutil.rmtree(tmp_path / "elsewhere")
        else:
            (data / gone).unlink()
        assert run.process.wait(STOP_SECONDS + 1) == 1
    place = data if gone == "." else data / gone
    (line,) = run.errors.read_text().splitlines()
    assert line.startswith(f"error: {place} was deleted or replaced while the service was running.")


def walk_modes(data: Path) -> dict[str, str]:
    return {
        str(path.relative_to(data)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in [data, *data.rglob("*")]
        if path.exists()
    }


@pytest.fixture
def public() -> Iterator[Path]:
    """Give a folder that every user of the machine may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_all_that_is_kept_is_its_users_alone(tmp_path: Path, public: Path) -> None:
    data = public / "data"
    with running(tmp_path, data, umask=0) as run, run.client() as client:
        assert client.post("/api/customers/", json=NEW).status_code == 201
        # Moved into the inbox, it keeps its own mode until the next start: the folder around it protects it.
        file = tmp_path / "new.csv"
        file.write_text(f"first_name,last_name,email,group_id\n{','.join(map(str, NEW.values()))}\nX,,,\n")
        file.chmod(0o644)
        file.rename(data / "import-bucket" / "imports" / "new.csv")
        until(lambda: list((data / "import-bucket" / "reports").rglob("summary.json")))
        until((data / "events.jsonl").exists)
        kept = walk_modes(data)
        assert kept.pop("import-bucket/imports/new.csv") == "0o644"
        assert {"dynamodb.sqlite", "dynamodb.sqlite-wal", "dynamodb.sqlite-shm", "token", "lock"} <= kept.keys()
        assert {"logs/CreateCustomers.log", "reference/openapi.yaml", "endpoints.json", "events.jsonl"} <= kept.keys()
        wrong = {path: mode for path, mode in kept.items() if mode != ("0o700" if (data / path).is_dir() else "0o600")}
        assert wrong == {}
        if os.geteuid() == 0:
            others = public / "others"
            others.write_text("for all")
            assert readable_by_nobody([others, data, *data.rglob("*")]) == [others]


def readable_by_nobody(paths: list[Path]) -> list[Path]:
    """Give those that another user, who knows their names, can read or list."""
    names = [str(path) for path in paths]
    program = (
        "import json, os, sys\n"
        "found = []\n"
        "for name in json.load(sys.stdin):\n"
        "    try:\n"
        "        os.listdir(name) if os.path.isdir(name) else os.close(os.open(name, os.O_RDONLY))\n"
        "    except OSError:\n"
        "        continue\n"
        "    found.append(name)\n"
        "print(json.dumps(found))\n"
    )
    # The project's own Python may lie where nobody else looks.
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program],
        input=json.dumps(names),
        check=True,
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
    )
    return [Path(name) for name in json.loads(done.stdout)]


def test_a_folder_that_was_open_before_is_closed_and_what_is_not_the_services_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path, data, *SMALL):
        pass
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for path in [data, *data.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    outside.chmod(0o644)
    (data / "logs" / "link").symlink_to(outside)
    os.link(outside, data / "logs" / "second-name")
    with running(tmp_path, data, *SMALL):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        own = [path for path in data.rglob("*") if path.name not in {"link", "second-name"}]
        assert {stat.S_IMODE(path.stat().st_mode) for path in own if path.is_dir()} == {0o700}
        assert {stat.S_IMODE(path.stat().st_mode) for path in own if path.is_file()} == {0o600}
        assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_that_holds_other_things_keeps_its_mode_and_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / "letter").write_text("dear")
    (home / "letter").chmod(0o644)
    with running(tmp_path, home, *SMALL):
        modes = walk_modes(home)
    assert (modes["."], modes["letter"]) == ("0o755", "0o644")
    assert {mode for path, mode in modes.items() if path not in {".", "letter"}} == {"0o700", "0o600"}
    shutil.rmtree(home)
