"""The logs of functions stay small, and are read in the order in which they were written."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from local.logs import MAX_SIZE, Line, follow, last_lines, older, shorten

if TYPE_CHECKING:
    from pathlib import Path


def stamped(second: int, text: str) -> str:
    return json.dumps({"timestamp": f"2026-01-01T00:00:{second:02}.000+00:00", "message": text})


def test_a_log_that_grows_is_put_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "Get.log"
    line = b"x" * 999 + b"\n"
    with log.open("ab", buffering=0) as writer:
        for round_ in range(3):
            for _ in range(MAX_SIZE // len(line) + 1):
                writer.write(line)
            shorten(tmp_path)
            writer.write(b"after %d\n" % round_)
            assert log.read_bytes() == b"after %d\n" % round_
            assert older(log).read_bytes().endswith(line)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["Get.log", "Get.log.1"]
    assert older(log).stat().st_size < 2 * MAX_SIZE


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Get.log").write_text("a line\n")
    shorten(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["Get.log"]


def test_lines_of_several_functions_are_in_their_order_in_time(tmp_path: Path) -> None:
    (tmp_path / "A.log.1").write_text(f"{stamped(1, 'first')}\n")
    (tmp_path / "A.log").write_text(f"{stamped(3, 'third')}\nTraceback\n  of the third\n")
    (tmp_path / "B.log").write_text(f"{stamped(2, 'second')}\n{stamped(4, 'fourth')}\n")
    lines = [
        Line("A", stamped(1, "first")),
        Line("B", stamped(2, "second")),
        Line("A", stamped(3, "third")),
        Line("A", "Traceback"),
        Line("A", "  of the third"),
        Line("B", stamped(4, "fourth")),
    ]
    assert last_lines(tmp_path, ["A", "B", "Never"], 100) == lines
    assert last_lines(tmp_path, ["A", "B"], 2) == lines[-2:]
    assert last_lines(tmp_path, ["A", "B"], 0) == []


def test_following_gives_whole_lines_also_of_logs_that_begin_later_or_anew(tmp_path: Path) -> None:
    log = tmp_path / "A.log"
    log.write_text("before\n")
    lines: list[Line] = []

    def read() -> None:
        for line in follow(tmp_path, ["A", "B"]):
            lines.append(line)
            if line.text == "end":
                return

    def wait_for(line: Line) -> None:
        deadline = time.monotonic() + 10
        while line not in lines:
            assert time.monotonic() < deadline, lines

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    with log.open("a", buffering=1) as writer:
        # The reader does not see lines from before it has begun.
        while not lines:
            writer.write("hello\n")
        writer.write("half")
        writer.flush()
        (tmp_path / "B.log").write_text("other\n")
        wait_for(Line("B", "other"))
        writer.write(" and half\n")
        wait_for(Line("A", "half and half"))
    log.write_text("end\n")
    thread.join(10)
    assert set(lines) == {Line("A", "hello"), Line("B", "other"), Line("A", "half and half"), Line("A", "end")}
