"""`customers export`: all customers, or one group, read through the API into a file that can be imported again."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import nullcontext, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.target import find_target, stack_option
from cli.terminal import console, printable
from customers.fields import FIELDS
from customers.ids import MAX_ID
from customers.imports.files import csv
from customers.imports.files.rows import MAX_ROW_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE: Final = 1000
_TRIES: Final = 8
_SECONDS: Final = 60
_RESUMED_SECONDS: Final = 60 * 60
"""How long ago an export may have been interrupted to be continued. What it has read gets older."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_RECORD: Final = ("created_at", "updated_at", "version")
_ENTRIES: Final = next(field.name for field in FIELDS if field.kind == "dict")
_FIELDS: Final = tuple(field.name for field in FIELDS if field.kind != "dict")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error. Python's own handler would send the token wherever it leads."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Do not follow it."""


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


@click.command()
@click.option("--group", "group_id", type=click.IntRange(1, MAX_ID), help="Only this group. Default: all customers.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), help="The file. Default: stdout.")
@stack_option
def export(group_id: int | None, form: str, output: Path | None, stack: str | None) -> None:
    """Export all customers, or one group, to a file that can be imported again.

    The token comes from the environment variable CUSTOMERS_TOKEN. If that is not set, it is the token of the laptop's
    service. It needs the scope read, and also export for all customers.

    If an export to a file is interrupted, run the same command again within an hour: it continues where it stopped.
    Only you can read the file.
    """
    path = "/api/customers/" if group_id is None else f"/api/customers/group/{group_id}/"
    url, token = find_target(stack).api()
    # The metadata columns are known only at the end, so the pages are kept in a file until then.
    if output is None or (output.exists() and not output.is_file()):
        target = nullcontext(sys.stdout.buffer) if output is None else output.open("wb")
        with tempfile.TemporaryFile("w+b") as pages, target as file:
            _export(_Walk(f"{url.rstrip('/')}{path}", token, pages), group_id, form, file)
        return
    if not output.parent.is_dir():
        raise click.ClickException(f"There is no folder {printable(str(output.parent))}.")
    # If it is a link, the file that it leads to.
    place = output.resolve()
    spool, made = (place.with_name(f".{place.name}.{ending}") for ending in ("part", "new"))
    if spool.exists() and time.time() - spool.stat().st_mtime > _RESUMED_SECONDS:
        spool.unlink()
    try:
        with _private(spool, "a+b") as pages, _private(made, "wb") as file:
            total = _export(_Walk(f"{url.rstrip('/')}{path}", token, pages), group_id, form, file)
    except BaseException as error:
        # An earlier export of this name stays until this one is whole.
        made.unlink(missing_ok=True)
        if isinstance(error, KeyboardInterrupt):
            click.echo("Interrupted. To continue, run the same command again within an hour.", err=True)
        raise
    made.replace(place)
    spool.unlink()
    click.echo(f"{total:,} customers in {printable(str(output))}", err=True)


def _export(walk: _Walk, group_id: int | None, form: str, file: IO[bytes]) -> int:
    total = walk.finish("customers" if group_id is None else f"group {group_id}")
    is_wide = False
    for number, line in enumerate((_csv if form == "csv" else _json_lines)(walk)):
        data = line.encode()
        has_too_many = number == 0 and form == "csv" and line.count(",") >= csv.MAX_COLUMNS
        is_wide = is_wide or has_too_many or len(data) > MAX_ROW_BYTES
        file.write(data)
    if is_wide:
        click.echo("This file is too wide to be imported again. For that, use --format jsonl.", err=True)
    return total


def _private(path: Path, mode: str) -> IO[bytes]:
    """Open a file that only its owner can read."""

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    return open(path, mode, opener=opener)


class _Walk:
    """A walk through all pages. They are kept in a file, one page per line."""

    def __init__(self, url: str, token: str, pages: IO[bytes]) -> None:
        self._url = url
        self._token = token
        self._pages = pages

    def customers(self) -> Iterator[dict[str, Any]]:
        """Yield the customers read so far."""
        for page in self._kept():
            yield from page["customers"]

    def finish(self, what: str) -> int:
        """Read the pages that are not in the file yet, and return how many customers there are."""
        total = 0
        cursor: str | None = ""
        for page in self._kept():
            total, cursor = total + len(page["customers"]), page["next_cursor"]
        if cursor is None:
            # All was read, and the file could not be written. Customers may have changed since.
            self._pages.truncate(0)
            total, cursor = 0, ""
        terminal = console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
            task = progress.add_task(f"exporting {what}", total=None)
            while cursor is not None:
                page = self._page(cursor)
                self._pages.write(json.dumps({"url": self._url, **page}, ensure_ascii=False).encode() + b"\n")
                self._pages.flush()
                total, cursor = total + len(page["customers"]), page["next_cursor"]
                progress.update(task, description=f"exporting {what}: {total:,}")
        return total

    def _kept(self) -> Iterator[dict[str, Any]]:
        """Yield the pages in the file that belong to this walk. Cut off a page that was interrupted."""
        self._pages.seek(0)
        while line := self._pages.readline():
            page: Any = json.loads(line) if line.endswith(b"\n") else {}
            if page.get("url") != self._url:
                self._pages.truncate(self._pages.tell() - len(line))
                self._pages.seek(0, os.SEEK_END)
                return
            yield page

    def _page(self, cursor: str) -> dict[str, Any]:
        # Groups show ages only on request.
        query = {"limit": _PAGE, "cursor": cursor, **({"age": "true"} if "/group/" in self._url else {})}
        request = urllib.request.Request(  # noqa: S310 (the service's own address)
            f"{self._url}?{urlencode(query)}", headers={"Authorization": f"Bearer {self._token}"}
        )
        for tries in range(1, _TRIES + 1):
            try:
                with _OPENER.open(request, timeout=_SECONDS) as answer:
                    page: dict[str, Any] = json.load(answer)
                    return page
            except urllib.error.HTTPError as error:
                if error.code == 404 and not cursor:  # noqa: PLR2004
                    return {"customers": [], "next_cursor": None}
                if error.code not in _BUSY or tries == _TRIES:
                    raise _refused(error, self._pages) from None
                time.sleep(float(error.headers.get("Retry-After", tries)))
            except (OSError, HTTPException) as error:
                # HTTPException: the answer was cut off.
                if tries == _TRIES:
                    raise click.ClickException(f"The API does not answer: {error}") from None
                time.sleep(tries / 4)
        raise AssertionError


def _refused(error: urllib.error.HTTPError, pages: IO[bytes]) -> click.ClickException:
    problem: Any = {}
    # There is no problem document if something between here and the service answered.
    with suppress(ValueError):
        problem = json.load(error)
    if any(one.get("parameter") == "cursor" for one in problem.get("errors", [])):
        where = f"Delete {printable(str(pages.name))}, and run" if isinstance(pages.name, str | Path) else "Run"
        return click.ClickException(f"The API no longer knows how far this export is. {where} the command again.")
    advice = " The token is that in CUSTOMERS_TOKEN, or else in DATA_DIR/token." if error.code == 401 else ""  # noqa: PLR2004
    return click.ClickException(f"The API answered {error.code}: {problem.get('detail', error.reason)}{advice}")


def _json_lines(walk: _Walk) -> Iterator[str]:
    for customer in walk.customers():
        yield json.dumps(customer, ensure_ascii=False) + "\n"


def _csv(walk: _Walk) -> Iterator[str]:
    entries = sorted({name for customer in walk.customers() for name in customer[_ENTRIES]})
    yield "\ufeff" + csv.record(["id", *_FIELDS, *(f"{_ENTRIES}.{name}" for name in entries), *_RECORD], ",")
    for customer in walk.customers():
        values = [customer[name] for name in (*_FIELDS, *_RECORD)]
        texts = [None if value is None else str(value) for value in values]
        cells = [customer[_ENTRIES].get(name) for name in entries]
        at = len(_FIELDS)
        # Spreadsheets round long numbers, but not text.
        yield csv.record([f"C-{customer['id']}", *texts[:at], *cells, *texts[at:]], ",")
