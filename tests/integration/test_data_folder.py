"""Only its user can read the data folder, and anyone who cannot keep data there is told why."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import STOP_SECONDS
from tests.integration.laptop import NEW, SMALL, refused, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

NOBODY = 65_534


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
    # Not even root can write there.
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
    """Return a folder that every user of the machine may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_all_that_is_kept_is_its_users_alone(tmp_path: Path, public: Path) -> None:
    data = public / "data"
    with running(tmp_path, data, umask=0) as run, run.client() as client:
        assert client.post("/api/customers/", json=NEW).status_code == 201
        # A file that is moved into the inbox keeps its mode. The folder around it protects it.
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
    """Return the paths that another user who knows them can read or list."""
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
    # The project's own Python may be where other users cannot read it.
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
