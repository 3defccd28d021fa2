"""`customers import --dry-run`: what an import would find, without a service and without writing anything."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "Ann,Ash,ann@example.com,1\n"


def _dry_run(*arguments: object) -> Result:
    words = ["import", "--dry-run", *map(str, arguments)]
    # No service keeps its data there.
    return CliRunner(mix_stderr=False).invoke(main, words, prog_name="customers", env={"DATA_DIR": "/nowhere"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def test_a_good_file_is_counted_and_nothing_else_is_touched(file: Path) -> None:
    file.write_bytes(gzip.compress(b"first_name,last_name,email,group_id\n" + GOOD.encode() * 1234))
    done = _dry_run(file)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == f"{file}: 1,234 valid, 0 rejected; nothing was written"
    assert "CSV, separated by commas" in done.stdout
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_it_says_how_the_columns_are_understood(file: Path) -> None:
    file.write_text("Given name;lastName;E-mail;group_id;Notes;Plan;created_at\nAnn;Ash;ann@example.com;1;x;y;z\n")
    options = ("--map", "Given name=first_name", "--map", "plan=metadata.plan", "--ignore", "notes")
    done = _dry_run(file, *options)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == [
        "Read as CSV, separated by semicolons",
        "  Given name: first_name",
        "  lastName: last_name",
        "  E-mail: email",
        "  Notes: ignored",
        "  Plan: metadata.plan",
        "  created_at: ignored",
    ]
    facts = json.loads(_dry_run("--json", file, *options).stdout)
    assert facts["columns"] == {
        "Given name": "first_name",
        "lastName": "last_name",
        "E-mail": "email",
        "group_id": "group_id",
        "Notes": None,
        "Plan": "metadata.plan",
        "created_at": None,
    }


def test_the_first_bad_rows_are_shown_and_all_are_counted(file: Path) -> None:
    file.write_text("first_name,last_name,email,group_id\n" + GOOD * 3 + "Bob,Ash,nobody,1\n" * 25)
    done = _dry_run(file)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].endswith("3 valid, 25 rejected; nothing was written")
    assert lines[2] == "  row 4, email: Must be a valid email address, like name@example.com."
    assert (len(lines), lines[-1]) == (13, "  and 15 more")
    facts = json.loads(_dry_run("--json", file).stdout)
    assert (facts["rows"], facts["valid"], facts["rejected"]) == (28, 3, 25)
    assert facts["first_rejected"][0] == {
        "row": 4,
        "errors": [
            {
                "pointer": "#/email",
                "code": "invalid_email",
                "detail": "Must be a valid email address, like name@example.com.",
            }
        ],
    }


def test_a_broken_file_says_where_and_why(file: Path) -> None:
    file.write_text("first_name,last_name,email,group_id,phone\n" + GOOD)
    done = _dry_run(file)
    assert done.exit_code == 1
    assert "--ignore phone" in done.stdout
    assert json.loads(_dry_run("--json", file).stdout)["broken"]["code"] == "wrong_header"


def test_several_files_are_each_looked_at(file: Path) -> None:
    good, bad = file, file.with_name("bad.json")
    good.write_text("first_name,last_name,email,group_id\n" + GOOD)
    bad.write_text("[1]")
    done = _dry_run(good, bad)
    assert done.exit_code == 1
    assert [line.partition(": ")[0] for line in done.stdout.splitlines() if "valid" in line] == [str(good), str(bad)]


@pytest.mark.parametrize("word", ["Mail", "Mail=mail", "Mail=id="])
def test_a_mapping_that_cannot_be_followed_is_refused_before_anything_is_read(word: str, file: Path) -> None:
    file.write_text("x")
    done = _dry_run(file, "--map", word)
    assert done.exit_code == 2
    assert repr(word) in done.stderr


def test_what_a_file_says_cannot_change_the_terminal(file: Path) -> None:
    file.write_text("first_name,last_name,email,group_id,\x1b[31mred[/b]\n" + GOOD)
    done = _dry_run(file)
    assert "\x1b" not in done.stdout
