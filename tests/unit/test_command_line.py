"""What the command line understands, refuses and suggests, before it reaches a service."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from cli.duration import Duration
from local.services.server_process import free_port

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [
    ("token", "list"),
    ("token", "create", "--scopes", "read", "--label", "x"),
    ("token", "narrow", "0" * 16, "--scopes", "read"),
    ("token", "revoke", "0" * 16),
    ("token", "rotate", "0" * 16),
    ("history", "1"),
    ("audit", "--token", "0" * 16),
    ("restore", "--from-table", "restored"),
    ("import", __file__),
    ("import", "status"),
    ("import", "status", "0" * 16),
]
"""Every command that needs a service."""


def _customers(*arguments: str, **variables: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, arguments, prog_name="customers", env=variables)


def test_the_version_is_the_projects() -> None:
    done = _customers("--version")
    assert (done.exit_code, done.stdout) == (0, "customers 1.0.0\n")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("tokens", "list"), "token"),
        (("improt", "x.csv"), "import"),
        (("token", "rotat"), "rotate"),
        (("token", "create", "--lable", "x"), "--label"),
        (("import", "--jsno", "x"), "--json"),
        (("import", "status", "--limt", "3"), "--limit"),
    ],
)
def test_a_near_miss_is_met_with_what_was_meant(arguments: tuple[str, ...], meant: str) -> None:
    done = _customers(*arguments)
    assert done.exit_code == 2
    assert f"Did you mean {meant}?" in done.stderr


def test_nothing_is_suggested_for_what_is_like_no_command() -> None:
    done = _customers("xyzzy")
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: No such command 'xyzzy'.\n")


def test_the_help_of_import_has_both_of_its_uses() -> None:
    shown = _customers("import", "--help").stdout
    assert shown.startswith(
        "Usage: customers import [OPTIONS] FILE...\n       customers import status [OPTIONS] [ID]\n"
    )
    assert _customers("import", "status", "--help").stdout.startswith("Usage: customers import status [OPTIONS] [ID]\n")


def test_no_help_shows_the_mark_for_lines_that_stay_as_they_are() -> None:
    helps = {name: CliRunner().invoke(main, [name, "--help"]).stdout for name in main.commands}
    assert len(helps) > 5
    assert [name for name, text in helps.items() if "\\b" in text or "\b" in text] == []
    assert '\n  zsh    eval "$(customers completion zsh)"' in helps["completion"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    done = _customers("completion", shell)
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"_CUSTOMERS_COMPLETE={shell}_complete" in done.stdout
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=done.stdout, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("customers tok", ["token"]),
        ("customers token r", ["revoke", "rotate"]),
        ("customers token create --la", ["--label"]),
        ("customers import st", ["status", "st"]),
        ("customers import sales", ["sales"]),
        ("customers import status --l", ["--limit"]),
        ("customers completion f", ["fish"]),
    ],
)
def test_commands_options_and_choices_are_completed(typed: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = _customers(**words, _CUSTOMERS_COMPLETE="bash_complete")
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--scopes", "everything"), "'everything' is not a scope"),
        (("--scopes", ","), "No scope"),
        *((("--expires", text), "not a duration") for text in ("soon", "90", "1.5d", "-1d", "90d 1h", "2w", "")),
        *((("--expires", text), "too short") for text in ("0d", "0s", "00h")),
        *((("--expires", text), "too long") for text in ("36501d", "999999d", "9" * 6000 + "s")),
        *((("--label", text), "blank") for text in ("", " \t", "\u200b")),
        *((("--expires", text), "not a duration") for text in ("Never", "inf", "nan")),
        (("--label", "a\nb"), "control characters"),
        (("--label", "\x1b[31m"), "control characters"),
        (("--label", "\udcff"), "control characters"),
        (("--label", "x" * 101), "too long"),
    ],
)
def test_a_token_is_not_created_from_options_that_make_no_sense(options: tuple[str, str], says: str) -> None:
    given = {"--scopes": "read", "--label": "x", options[0]: options[1]}
    done = _customers("token", "create", *(text for pair in given.items() for text in pair))
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_the_new_token_of_a_rotation_has_a_lifetime_and_the_old_one_may_have_no_overlap(tmp_path: Path) -> None:
    assert "too short" in _customers("token", "rotate", "x", "--expires", "0d").stderr
    assert "too long" in _customers("token", "rotate", "x", "--overlap", "36501d").stderr
    assert "not a duration" in _customers("token", "rotate", "x", "--overlap", "never").stderr
    accepted = _customers("token", "rotate", "x", "--overlap", "0s", DATA_DIR=str(tmp_path))
    assert "No service is running" in accepted.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1_800), ("90h", 324_000), ("007d", 604_800), ("36500d", 3_153_600_000)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("left", [None, "", "{", '{"dynamodb": "http://127.0.0.1:0", "aws": "http://127.0.0.1:0"}'])
def test_without_a_service_every_command_says_how_to_start_one(
    tmp_path: Path, command: tuple[str, ...], left: str | None
) -> None:
    if left is not None:
        # A killed service leaves this behind: ports where nobody listens.
        (tmp_path / "endpoints.json").write_text(left.replace(":0", f":{free_port()}"))
    _says_that_nothing_is_running(tmp_path, command)


def test_a_data_folder_that_is_a_file_has_no_service(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    _says_that_nothing_is_running(file, ("token", "list"))


def _says_that_nothing_is_running(data: Path, command: tuple[str, ...]) -> None:
    started = time.monotonic()
    done = _customers(*command, DATA_DIR=str(data))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: No service is running in {data}. Start it with `make run`")
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - started < 10, "without trying for long"
