"""What the guides show and name exists. tests/environment/test_guides.py checks that it works."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

import click
import pytest

from cli.__main__ import main
from cli.import_status import status
from tests.conftest import ROOT
from tests.guides import GUIDES, Block, blocks, is_printed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS: Final = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
LANGUAGES: Final = {"sh", "console", "python", "js"}
PAGES: Final = pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)


def _commands(page: Path) -> Iterator[str]:
    """Yield the commands that a page tells people to type, in blocks and within sentences."""
    sentences = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    blocks_ = [block.text for block in blocks(page) if block.language in {"sh", "console"}]
    for text in [*blocks_, *re.findall(r"`([^`]+)`", sentences)]:
        for line in text.splitlines():
            yield from re.split(r"&&|\|\|?|;|\$\(|\)|[<>]", line)


def _check(words: list[str]) -> None:
    """Check that `./customers` has a command, and that the command has the options."""
    command: click.Command = main
    for word in words:
        if word.startswith("-"):
            options = {name for parameter in command.params for name in parameter.opts}
            assert word.partition("=")[0] in options, words
        elif isinstance(command, click.Group):
            assert word in command.commands, words
            command = command.commands[word]
        elif command.name == "import" and word == "status":
            command = status


@PAGES
def test_a_guide_names_only_commands_that_there_are(page: Path) -> None:
    for command in _commands(page):
        match shlex.split(command, comments=True):
            case ["make", target, *_]:
                assert target in TARGETS, command
            case ["./customers", *words]:
                _check(words)


@PAGES
def test_a_guide_has_no_block_that_nothing_checks(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        assert (block.language in {"python", "js"}) == (block.file is not None), block
        assert set(block.words) <= {"exits=1", "soon", block.file}, block
        assert block.printed is None or block.language == "sh", block


@PAGES
def test_a_program_in_a_guide_is_the_file(page: Path) -> None:
    for block in blocks(page):
        if block.file is not None and not block.file.startswith("+"):
            assert block.text == (ROOT / block.file).read_text(encoding="utf-8"), block.file


def test_the_list_of_guides_has_them_all() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs/guides/README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [page.name for page in GUIDES]


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("3 created", "3 created\n", True),
        ("3 created", "4 created\n", False),
        ("id 5181459237011563 at 2026-11-23T10:33:09.784Z", "id 42424242424242 at 2027-01-02T03:04:05.006Z", True),
        ("token 8c1f2b7a90d3e645", "token 1234567890123456", True),
        ("a\n…\nc", "a\nc\n", True),
        ("a\n…\nc", "a\nb\nb\nc\n", True),
        ("a\n…\nc", "a\nb\nd\n", False),
        ("a … c", "a b c", True),
        ("a", "a\nb", False),
        ("a  b", " a b \n\n ──── \n", True),
    ],
)
def test_an_output_fits_apart_from_ids_and_times(shown: str, printed: str, *, fits: bool) -> None:
    assert is_printed(Block(1, "text", (), shown), printed) is fits


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ('{"a": 1,\n "b": "…"}', '{"a":1,"b":"whatever"}', True),
        ('{"a": 1}', '{"a":1,"b":2}', False),
        ('{"a": 1}', "a", False),
    ],
)
def test_json_fits_however_it_is_laid_out(shown: str, printed: str, *, fits: bool) -> None:
    assert is_printed(Block(1, "json", (), shown), printed) is fits
