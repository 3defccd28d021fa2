"""The prose of the contract, which must match the facts in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).with_name("words.yaml")


class WordsError(Exception):
    """The words and the facts do not match. The text says where."""


class Words:
    """The content of `words.yaml`. It keeps track of what was used."""

    def __init__(self) -> None:
        self._words: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        self._unused = dict(_leaves(self._words, ()))
        self._missing: list[str] = []

    def __call__(self, *path: str | int, **values: object) -> str:
        """Return some words. If there are none, `check` reports it.

        Parameters
        ----------
        path
            Where they are in the file.
        values
            Facts that replace `{name}` in the words.
        """
        found = self.get(*path)
        if not isinstance(found, str):
            self._missing.append(_place(path))
            return "?"
        for name, value in values.items():
            found = found.replace(f"{{{name}}}", str(value))
        return found.strip()

    def get(self, *path: str | int) -> Any:  # noqa: ANN401 - a part of the file
        """Return a part of the file. None if there is none."""
        part: Any = self._words
        for step in path:
            part = part.get(step) if isinstance(part, dict) else None
        for used in [leaf for leaf in self._unused if leaf[: len(path)] == path]:
            del self._unused[used]
        return part

    def requests(self) -> dict[str, dict[str, Any]]:
        """Return the requests of the examples, by the operation's id and the example's name."""
        operations = self._words["operations"]
        found: dict[str, dict[str, Any]] = {identifier: {} for identifier in operations}
        for identifier, operation in operations.items():
            for name, example in operation["examples"].items():
                found[identifier][name] = {key: value for key, value in example.items() if key != "summary"}
                for key in found[identifier][name]:
                    self.get("operations", identifier, "examples", name, key)
        return found

    def check(self) -> None:
        """Make sure that every fact has words, and that all words were used.

        Raises
        ------
        WordsError
            It lists everything that does not match.
        """
        amiss = [f"words.yaml has no words for {place}" for place in dict.fromkeys(self._missing)]
        amiss += [f"words.yaml has words that are not used: {_place(path)}" for path in self._unused]
        if amiss:
            raise WordsError("\n".join(amiss))


def _leaves(part: object, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(part, dict):
        return [leaf for key, value in part.items() for leaf in _leaves(value, (*path, key))]
    return [(path, part)]


def _place(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))
