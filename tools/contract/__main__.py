"""`python -m tools.contract`: writes the published contract. With `--check`, it says whether it is up to date."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import yaml

from tools.contract.collection import collection
from tools.contract.facts import ROOT, read_facts
from tools.contract.markdown import problems_page, with_tables
from tools.contract.specification import specification
from tools.contract.words import Words, WordsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DOCS: Final = ROOT / "docs"
_INT64: Final = {"format": "int64"}
_HEAD: Final = "# Written by `make openapi` from the code, the template and tools/contract/words.yaml.\n"


class _Dumper(yaml.SafeDumper):
    """Writes YAML as a person would: without aliases, and long texts as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the published files.

    Returns
    -------
    int
        The exit code: 1 if a file is out of date, or the words do not match the facts.
    """
    parser = argparse.ArgumentParser(prog="contract", description="Write the published contract.")
    parser.add_argument("--check", action="store_true", help="write nothing, and show what is out of date")
    options = parser.parse_args(arguments)
    try:
        files = _published()
    except WordsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - to the terminal
        return 1
    stale = {file: text for file, text in files.items() if _current(file) != text}
    if not options.check:
        for file, text in stale.items():
            file.write_text(text, encoding="utf-8")
        return 0
    for file, text in stale.items():
        name = str(file.relative_to(ROOT))
        lines = difflib.unified_diff(_current(file).splitlines(), text.splitlines(), name, "make openapi", lineterm="")
        print("\n".join(lines), file=sys.stderr)  # noqa: T201 - to the terminal
    if stale:
        print("run: make openapi", file=sys.stderr)  # noqa: T201 - to the terminal
    return 1 if stale else 0


def _published() -> dict[Path, str]:
    words = Words()
    facts = read_facts(words.requests())
    reference = _DOCS / "api.md"
    document = specification(facts, words)
    files = {
        # Two forms, because neither suits every generator. With the format, some for TypeScript turn each id into a
        # BigInt and send it as a string. Without it, those for Java, Go and others read ids into 32 bits.
        _DOCS / "openapi.yaml": _yaml(_without(_INT64, document)),
        _DOCS / "openapi-int64.yaml": _yaml(document),
        _DOCS / "problems.md": problems_page(facts, words),
        _DOCS / "customers.postman_collection.json": json.dumps(collection(facts, words), indent=2, ensure_ascii=False)
        + "\n",
        reference: with_tables(reference.read_text(encoding="utf-8"), facts, words),
    }
    words.check()
    return files


def _yaml(document: object) -> str:
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _without(item: Mapping[str, str], part: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return a part of a document, with an item removed from all its objects."""
    match part:
        case dict():
            kept = ((key, value) for key, value in part.items() if (key, value) not in item.items())
            return {key: _without(item, value) for key, value in kept}
        case list():
            return [_without(item, value) for value in part]
        case _:
            return part


def _current(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
