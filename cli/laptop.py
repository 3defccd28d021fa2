"""`customers status`, `logs` and `reset`: the service of `make run`, its logs and its data."""

from __future__ import annotations

import difflib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from local import data_folder
from local.errors import LocalError
from local.logs import Line, follow, last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNITS: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_NEAR: Final = 0.8
"""How similar a name must be to be suggested: 1 is the same name."""
_SERVERS: Final = {"dynamodb", "services"}
"""Logs that are not from a function."""


def _data() -> Path:
    return Path(os.environ.get("DATA_DIR") or ".local")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def status(*, as_json: bool) -> None:
    """Show whether the laptop's service is running, where, and what it holds.

    The exit code is 1 if it is not running.
    """
    data = _data()
    running = _running(data)
    shown: dict[str, Any] = {
        "running": running is not None,
        "data": str(data.resolve()),
        "bytes": {name: size for name in data_folder.NAMES if (size := _size(data / name))},
    }
    if running is not None:
        shown |= {
            "address": running["url"],
            "pid": running["pid"],
            "seconds": max(int(time.time()) - running["started"], 0),
            "functions": running["functions"],
            **_contents(running),
        }
    click.echo(json.dumps(shown, indent=2) if as_json else "\n".join(_described(shown)))
    if running is None:
        raise SystemExit(1)


def _running(data: Path) -> Mapping[str, Any] | None:
    if not data_folder.in_use(data):
        return None
    try:
        running: Mapping[str, Any] = json.loads((data / data_folder.ENDPOINTS).read_text(encoding="ascii"))
    except FileNotFoundError:
        raise click.ClickException(f"The service in {data} is starting or stopping. Try again in a moment.") from None
    return running


def _contents(running: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the service's engines what it holds."""
    import boto3  # noqa: PLC0415 - a quarter of a second that the other commands do not need
    from botocore.config import Config  # noqa: PLC0415

    session = boto3.Session(region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106 - words that the engines do not check
    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2})
    dynamodb = session.client("dynamodb", endpoint_url=running["dynamodb"], config=config)
    sqs = session.client("sqs", endpoint_url=running["aws"], config=config)
    table = dynamodb.describe_table(TableName=running["outputs"]["CustomersTableName"])["Table"]
    queues = {}
    for url in sqs.list_queues().get("QueueUrls", []):
        attributes: Any = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        queues[url.rpartition("/")[2]] = sum(
            int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed")
        )
    return {"customers": table["ItemCount"], "queues": queues}


def _described(shown: Mapping[str, Any]) -> list[str]:
    sizes: Mapping[str, int] = shown["bytes"]
    parts = {
        "database": sum(size for name, size in sizes.items() if name.startswith(data_folder.DATABASE)),
        "import bucket": sizes.get(data_folder.IMPORT_BUCKET, 0),
        "events": sizes.get("events.jsonl", 0),
        "logs": sizes.get(data_folder.LOGS, 0),
    }
    told = ", ".join(f"{name} {_readable(size)}" for name, size in parts.items())
    folder = f"data       {shown['data']}  ({told})" if sizes else f"data       {shown['data']}  (empty)"
    if not shown["running"]:
        return ["running    no. Start it: make run", folder]
    waiting = {name: count for name, count in shown["queues"].items() if count}
    return [
        f"running    yes, for {_span(shown['seconds'])}  (process {shown['pid']})",
        f"address    {shown['address']}",
        folder,
        f"customers  about {shown['customers']:,}",
        "waiting    " + (", ".join(f"{name} {count:,}" for name, count in waiting.items()) or "nothing in the queues"),
        f"functions  {', '.join(shown['functions'])}",
    ]


def _size(file: Path) -> int:
    try:
        return sum(map(_size, file.iterdir())) if file.is_dir() else file.lstat().st_size
    except FileNotFoundError:
        # It does not exist, or no longer: a running service makes short-lived files.
        return 0


def _readable(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def _span(seconds: int) -> str:
    for unit, name in _SPANS:
        if seconds >= unit:
            count = seconds // unit
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "less than a second"


@click.command()
@click.argument("function", required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing new lines.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="Lines to start with.")
def logs(function: str | None, lines: int, *, following: bool) -> None:
    """Show the logs of the laptop's service: of FUNCTION, or of all functions."""
    folder = _data() / data_folder.LOGS
    names = _functions(folder)
    if not names:
        raise click.ClickException(f"There are no logs in {folder}. Start the service: make run")
    chosen = names if function is None else [_named(function, names)]
    width = max(map(len, chosen)) if function is None else 0
    for line in last_lines(folder, chosen, lines):
        click.echo(_shown(line, width))
    if not following:
        return
    try:
        for line in follow(folder, chosen):
            click.echo(_shown(line, width))
    except KeyboardInterrupt:
        # Ctrl-C is how people stop following.
        raise SystemExit(130) from None


def _functions(folder: Path) -> list[str]:
    """Return the names of the functions that the service has or that have a log."""
    known = {log.stem for log in folder.glob("*.log")} - _SERVERS
    running = folder.parent / data_folder.ENDPOINTS
    if running.exists():
        known |= set(json.loads(running.read_text(encoding="ascii"))["functions"])
    return sorted(known)


def _named(function: str, names: Sequence[str]) -> str:
    """Return the function's name in the template. It may be asked for in any case, or by its folder's name."""

    def plain(name: str) -> str:
        return name.replace("_", "").replace("-", "").lower()

    by_plain = {plain(name): name for name in names}
    asked = plain(function)
    if (found := by_plain.get(asked)) is not None:
        return found
    near = [by_plain[match] for match in difflib.get_close_matches(asked, by_plain, cutoff=_NEAR)]
    near += [name for key, name in by_plain.items() if asked in key and name not in near]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."
    raise click.BadParameter(f"There is no function {function!r}. {hint}", param_hint="FUNCTION")


def _shown(line: Line, width: int) -> str:
    # A log may hold anything. Show characters that could control the terminal as escapes.
    text = "".join(
        character if character.isprintable() or character == "\t" else f"\\x{ord(character):02x}"
        for character in line.text
    )
    return f"{line.function:<{width}} | {text}" if width else text


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def reset(*, yes: bool) -> None:
    """Delete the laptop's data: customers, tokens, imports, events and logs.

    The service must not be running. Deployed stacks are not touched.
    """
    data = _data()
    kept = [name for name in data_folder.NAMES if (data / name).exists()]
    if not kept:
        click.echo(f"There is no data in {data.resolve()}.", err=True)
        return
    if data_folder.in_use(data) or data_folder.in_use(data / data_folder.IN_MEMORY):
        raise click.ClickException(
            f"The service in {data} is running. Stop it first: press Ctrl-C where `make run` runs."
        )
    size = _readable(sum(_size(data / name) for name in kept))
    if not yes:
        click.confirm(
            f"Delete all customers, tokens, imported files and their reports, events and logs in {data.resolve()} "
            f"({size})? This cannot be undone.",
            abort=True,
            err=True,
        )
    try:
        data_folder.delete(data)
    except LocalError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Deleted {size} in {data.resolve()}.", err=True)
