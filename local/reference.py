"""The API reference as a page to read and try out: served beside the API, or written as files for any web server."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import shutil
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import yaml
from markdown_it import MarkdownIt
from werkzeug.datastructures import Headers
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.utils import redirect
from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

from local.gateway.request_log import CALL, HIDDEN, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# Missing from Python's own table.
mimetypes.add_type("application/yaml", ".yaml")
_RENDERER: Final = "scalar"
# Only what the page loads, and what says whose it is. The package has more files.
_RENDERER_FILES: Final = ("standalone.js", "package.json")
_LAPTOP: Final = "laptop.json"
"""The file that tells the page what only the laptop has: a token to fill in."""
_OWN_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.ASCII)
_PROBLEM: Final = re.compile(r"[a-z0-9-]{1,100}")
_SLOT: Final = "<!-- problems.md -->"
_SITE_SLOT: Final = "<!-- site -->"


class Reference:
    """Serves the page under `/docs`, redirects `/` and `/problems/<name>` to it, and passes on everything else.

    Parameters
    ----------
    api
        The application that answers everything else.
    folder
        The folder that `write_reference` wrote.
    token
        The file with the token that the page fills in. None if there is none.
    """

    def __init__(self, api: WSGIApplication, folder: Path, token: Path | None) -> None:
        self._api = api
        self._token = token
        # No caching: people who have just changed the API need the new page.
        self._files = SharedDataMiddleware(api, {"/docs": str(folder)}, cache=False)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""

        def completed(status: str, headers: list[tuple[str, str]], *error: object) -> Callable[[bytes], object]:
            all_ = Headers(headers)
            all_.setdefault("X-Request-Id", str(uuid4()))
            all_["Cache-Control"], all_["X-Content-Type-Options"] = "no-store", "nosniff"
            return start_response(status, all_.to_wsgi_list(), *error)  # type: ignore[arg-type]

        path: str = environ["PATH_INFO"]
        call: Call = environ.get(CALL) or Call()
        # If the gateway answers after all, it replaces these.
        call.function, call.path = "docs", path
        match path.split("/")[1:] if environ["REQUEST_METHOD"] in {"GET", "HEAD"} else None:
            case [""] | ["docs"]:
                return redirect("/docs/")(environ, completed)
            case ["docs", ""]:
                return self._file({**environ, "PATH_INFO": "/docs/index.html"}, completed)
            case ["docs", name] if name == _LAPTOP:
                return self._laptop(environ)(environ, completed)
            case ["docs", *_]:
                return self._file(environ, completed)
            case ["problems", name] if _PROBLEM.fullmatch(name):
                call.path = f"/problems/{HIDDEN}"
                return redirect(f"/docs/problems.html#{name}")(environ, completed)
            case _:
                return self._api(environ, start_response)

    def _file(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return a file; to HEAD only its headers, unlike werkzeug's middleware."""
        content = self._files(environ, start_response)
        return ClosingIterator((), getattr(content, "close", None)) if environ["REQUEST_METHOD"] == "HEAD" else content

    def _laptop(self, environ: WSGIEnvironment) -> Response:
        """Return the token, but not to another host's page (DNS rebinding), nor to another user."""
        facts: dict[str, str] = {}
        own = _OWN_HOST.fullmatch(environ.get("HTTP_HOST", "")) is not None and _is_own(environ)
        if own and self._token is not None:
            with suppress(FileNotFoundError):
                facts["token"] = self._token.read_text(encoding="ascii").strip()
        return Response(json.dumps(facts), mimetype="application/json")


def _is_own(environ: WSGIEnvironment) -> bool:
    """Whether the caller is a process of the same user. If the system has no /proc to tell, assume that it is."""
    try:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    except FileNotFoundError:
        return True
    ends = [f":{int(environ[port]):04X}" for port in ("REMOTE_PORT", "SERVER_PORT")]
    # A socket's two ends and its owner, see proc_net_tcp in the kernel's documentation.
    return any([row[1][-5:], row[2][-5:], row[7]] == [*ends, str(os.getuid())] for row in rows)


def write_reference(
    docs: Path, folder: Path, packages: Path, api: str | None = None, *, site: str | None = None
) -> None:
    """Write the page.

    Parameters
    ----------
    docs
        The folder with the OpenAPI document, the problem types, and the page around them.
    folder
        Where to write it.
    packages
        The folder `node_modules`.
    api
        The address that the page calls. None for the page's own address.
    site
        The link back to the site that the page is part of. None if there is none, as on the laptop.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / _RENDERER).mkdir(parents=True)
    # Do not copy the sources' modes: the umask decides who may read the copies.
    for source in (docs / "page").iterdir():
        shutil.copyfile(source, folder / source.name)
    for name in _RENDERER_FILES:
        shutil.copyfile(packages / _RENDERER / name, folder / _RENDERER / name)
    # Without a token. On the laptop, `Reference` answers in its place.
    (folder / _LAPTOP).write_text("{}", encoding="ascii")
    for source in docs.glob("openapi*.yaml"):
        text = source.read_text(encoding="utf-8")
        if api is not None:
            document = {**yaml.safe_load(text), "servers": [{"url": api}]}
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        (folder / source.name).write_text(text, encoding="utf-8")
    slots = {
        _SLOT: _html((docs / "problems.md").read_text(encoding="utf-8")),
        _SITE_SLOT: f'<nav class="site"><a href="{site}">← Guides and documents</a></nav>' if site else "",
    }
    for page in folder.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for slot, content in slots.items():
            text = text.replace(slot, content)
        page.write_text(text, encoding="utf-8")


def _html(markdown: str) -> str:
    """Render a page. Each heading gets an id made from its text."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(markdown)
    for heading, text in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", text.content.lower().replace(" ", "-"))
    rendered: str = parser.renderer.render(tokens, parser.options, {})
    return rendered
