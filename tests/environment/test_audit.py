"""The audit of the dependencies, with our own sources of advisories. It fails on known advisories, never on silence."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANIFESTS = [ROOT / "package.json", *(ROOT / "tools" / name / "package.json" for name in ("clients", "lint", "site"))]
PACKAGES: dict[str, str] = {
    name: version
    for manifest in MANIFESTS
    for kind, versions in json.loads(manifest.read_text()).items()
    if kind.lower().endswith("dependencies")
    for name, version in versions.items()
}
"""What the project takes from npm."""
CONTROL = "jinja2"
"""The audit asks for this first, in an old version and not the pinned one, to see that the source answers."""


class Advisories(ThreadingHTTPServer):
    """OSV, and the npm registry.

    Parameters
    ----------
    vulnerable
        The packages with an advisory, as `name==version`.
    npm_audits
        Whether the registry takes part in audits; some mirrors do not.
    """

    def __init__(self, vulnerable: set[str], *, npm_audits: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vulnerable = vulnerable
        self.npm_audits = npm_audits
        self.asked: set[str] = set()
        self.audited: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Advisories

    def do_GET(self) -> None:
        """What the registry knows about a package, shortened to what npm needs for a lock file."""
        name = self.path.removeprefix("/").replace("%2f", "/")
        version = PACKAGES[name]
        dist = {"tarball": f"{self.server.url}/{name}.tgz", "integrity": "sha512-" + "A" * 86 + "=="}
        versions = {version: {"name": name, "version": version, "dist": dist}}
        self._answer({"name": name, "dist-tags": {"latest": version}, "versions": versions})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked: Any = json.loads(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        if self.path != "/osv":
            self._audit_npm(asked)
            return
        name, version = asked["package"]["name"], asked["version"]
        self.server.asked.add(f"{name}=={version}")
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "versions": [version]}]
        advisory = {"id": "PYSEC-0000-1", "summary": "known", "aliases": [], "affected": affected}
        self._answer({"vulns": [advisory]} if f"{name}=={version}" in self.server.vulnerable else {})

    def _audit_npm(self, asked: dict[str, list[str]]) -> None:
        if not self.server.npm_audits:
            self.send_error(405)
            return
        self.server.audited |= asked.keys()
        known = {
            "id": 1,
            "url": "https://example.com",
            "title": "known",
            "severity": "high",
            "vulnerable_versions": "*",
        }
        hit = {name for name, versions in asked.items() if f"{name}=={versions[0]}" in self.server.vulnerable}
        self._answer({name: [known] for name in hit})

    def _answer(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def advisories(*vulnerable: str, npm_audits: bool = True) -> Iterator[Advisories]:
    with Advisories(set(vulnerable), npm_audits=npm_audits) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


type Audit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    def run(url: str, *options: str, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "OSV_URL": f"{url}/osv",
            "npm_config_registry": url,
            "npm_config_cache": str(tmp_path / "npm"),
            "npm_config_fetch_retries": "0",
        }
        return subprocess.run(
            [project / ".ci" / "audit", *options], env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with a few packages, one of them in two versions. It is audited like this project."""
    project = tmp_path / "project"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "audit", project / ".ci")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, project)
    (project / ".venv").symlink_to(ROOT / ".venv")
    for name, pin in (("requirements/one", "pydantic==2.0"), ("a/requirements", "pydantic==1.0")):
        file = project / f"{name}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{pin} ; python_version > '3' \\\n    --hash=sha256:{'0' * 64}\n")
    # What others have pinned, in what is built and installed here, is not ours to audit.
    for folder in ("build/site", ".aws-sam/build", "tools/x/node_modules/y"):
        (project / folder).mkdir(parents=True)
        (project / folder / "requirements.txt").write_text("not-ours==1.0\n")
        (project / folder / "package.json").write_text('{"dependencies": {"not-ours": "1.0.0"}}')
    return project


def pins(file: Path = ROOT / "requirements/dev.txt") -> list[str]:
    return [line.split(" ")[0] for line in file.read_text().splitlines() if "==" in line.split(" ")[0]]


def test_everything_that_is_pinned_is_audited(audit: Audit) -> None:
    with advisories(f"{CONTROL}==2.4.1") as server:
        done = audit(server.url, "--required")
    assert done.returncode == 0, done.stderr
    assert "NOT AUDITED" not in done.stderr
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [ROOT / name for name in tracked if re.search(r"^requirements/.*\.txt$|(^|/)requirements\.txt$", name)]
    assert len(files) > 3
    for file in files:
        # A few pins are for other systems, and are audited there.
        assert pins(file), file
        assert len(set(pins(file)) - server.asked) < min(10, len(pins(file))), file
    assert [ROOT / name for name in tracked if name.endswith("package.json")] == MANIFESTS
    assert server.audited >= {name for name in PACKAGES if "dynoxide" not in name} | {
        "@dynoxide/linux-x64",
        "@scalar/api-reference",
    }


def test_a_vulnerable_python_package_fails_it_whatever_becomes_of_the_npm_packages(audit: Audit, project: Path) -> None:
    with advisories(f"{CONTROL}==2.4.1", "pydantic==2.0", npm_audits=False) as server:
        done = audit(server.url, project=project)
    assert done.returncode == 1
    assert "PYSEC-0000-1" in done.stdout
    assert server.asked == {f"{CONTROL}==2.4.1", "pydantic==2.0", "pydantic==1.0"}
    assert "NOT AUDITED: the vulnerabilities of the npm packages" in done.stderr


def test_a_vulnerable_npm_package_fails_it_whatever_becomes_of_the_python_packages(audit: Audit, project: Path) -> None:
    engine = "@dynoxide/linux-x64"
    with advisories(f"{engine}=={PACKAGES[engine]}") as server:
        done = audit(server.url, project=project)
    assert done.returncode == 1
    assert engine in done.stdout
    # If a source does not report the vulnerable version that is asked for first, its silence is not trusted.
    assert "NOT AUDITED: the vulnerabilities of the Python packages" in done.stderr


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--required",), 1)])
def test_sources_out_of_reach_are_told_and_fail_it_where_it_is_required(
    audit: Audit, project: Path, options: tuple[str, ...], status: int
) -> None:
    with advisories() as closed:
        pass
    done = audit(closed.url, *options, project=project)
    assert done.stderr.count("NOT AUDITED") == 2
    assert done.returncode == status


@pytest.mark.parametrize("file", ["requirements/run.txt", "layers/customers/requirements.txt"])
def test_every_place_runs_the_versions_that_are_tested(file: str) -> None:
    run = pins(ROOT / file)
    assert run
    assert set(run) <= set(pins())
