"""Downloads are pinned by hash: npm packages and GitHub actions. (pip refuses packages without a hash.)"""

from __future__ import annotations

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import PurePath
from typing import TYPE_CHECKING

import yaml

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCK = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
NOT_HERE = frozenset(f"@dynoxide/{name}" for name in ("darwin-arm64", "darwin-x64", "linux-arm64", "win32-x64"))
"""Engines for other machines, which the registry that this lock was made with does not have (docs/dependencies.md)."""


def test_npm_installs_what_the_manifest_names_by_its_hash() -> None:
    manifest = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    locked = {name.removeprefix("node_modules/"): package for name, package in LOCK["packages"].items() if name}
    engines = manifest["optionalDependencies"]
    assert LOCK["packages"][""]["optionalDependencies"] == engines
    assert engines == {name: locked[name]["version"] for name in engines}
    without = {name for name, package in locked.items() if not package.get("integrity", "").startswith("sha512-")}
    assert without == NOT_HERE
    assert manifest["reference"]["integrity"].startswith("sha512-")


def test_a_reference_page_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    manifest = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    manifest["reference"]["integrity"] = "sha512-other"
    (tmp_path / "package.json").write_text(json.dumps(manifest))
    # This npm fetches something other than the registry's package.
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text('#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\necho other >"$2/scalar.tgz"\n')
    npm.chmod(0o755)
    done = subprocess.run(
        ["node", ROOT / "tools/scalar.mjs"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{npm.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not the one in package.json" in done.stderr
    assert not list(tmp_path.glob("node_modules/*"))


def test_the_lock_names_no_registry() -> None:
    assert not any("resolved" in package for package in LOCK["packages"].values())


def test_every_folder_with_pins_is_watched_and_every_lock_is_documented() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    watched = {update["package-ecosystem"]: update.get("directories", []) for update in updates}
    folders = {f"/{name.rpartition('/')[0]}" for name in tracked if name.endswith("package.json")}
    assert folders == set(watched["npm"])
    for name in tracked:
        if re.search(r"^requirements/.*\.txt$|(^|/)requirements\.txt$", name):
            assert any(fnmatch(f"/{name.rpartition('/')[0]}", pattern) for pattern in watched["pip"]), name
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    documented = re.findall(r"`([\w/*.-]+\.(?:txt|json))`", page)
    for name in tracked:
        if name.endswith(("package-lock.json", "requirements.txt")):
            assert any(PurePath(name).full_match(pattern) for pattern in documented), name


def test_every_action_of_github_is_named_by_its_digest_with_its_version_beside_it() -> None:
    workflows = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").iterdir())
    used = re.findall(r"uses: (.+)", workflows)
    assert len(used) >= 6
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
