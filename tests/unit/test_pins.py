"""What is fetched is named by its hash: npm's packages and the actions of GitHub. (pip refuses what has none.)"""

from __future__ import annotations

import json
import re

from tests.conftest import ROOT

LOCK = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
NOT_HERE = frozenset(f"@dynoxide/{name}" for name in ("darwin-arm64", "darwin-x64", "linux-arm64", "win32-x64"))
"""Engines for other machines, which the registry that this lock was made with does not have (docs/dependencies.md)."""


def test_npm_installs_what_the_manifest_names_by_its_hash() -> None:
    manifest = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    locked = {name.removeprefix("node_modules/"): package for name, package in LOCK["packages"].items() if name}
    for kind in ("dependencies", "optionalDependencies"):
        assert LOCK["packages"][""][kind] == manifest[kind]
        assert manifest[kind] == {name: locked[name]["version"] for name in manifest[kind]}
    without = {name for name, package in locked.items() if not package.get("integrity", "").startswith("sha512-")}
    assert without == NOT_HERE


def test_the_lock_names_no_registry() -> None:
    assert not any("resolved" in package for package in LOCK["packages"].values())


def test_every_action_of_github_is_named_by_its_digest_with_its_version_beside_it() -> None:
    workflows = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").iterdir())
    used = re.findall(r"uses: (.+)", workflows)
    assert len(used) >= 6
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
