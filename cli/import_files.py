"""`customers import`: uploads files of customers, waits for each import, and prints its summary."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from boto3.s3.transfer import TransferConfig
from click.shell_completion import CompletionItem
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.import_preview import preview_files
from cli.import_status import short_id, status
from cli.import_summary import summary_text
from cli.target import NO_ANSWER, find_target, stack_option
from cli.terminal import console, printable
from customers.imports.bucket import RESTORE_DELETED, report_folder
from customers.imports.files.mapping import ColumnMapping, MappingError, mapping_metadata
from customers.imports.store import ImportStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.target import Target
    from customers.imports.store import Import

_LOOK_EVERY: Final = 0.25
"""Seconds between two checks of the progress."""
_SUMMARY: Final = "summary.json"
_LINE_BREAKS: Final = re.compile(r"[\r\n]+")


class _FilesOrStatus(click.Command):
    """A command that takes files, or the command `status`. A file named `status` is written `./status`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 (click's own)
    ) -> click.Context:
        """Make the context of the one that is called."""
        if args[:1] == [status.name]:
            return status.make_context(f"{info_name} {status.name}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage of both."""
        super().format_usage(ctx, formatter)
        arguments = " ".join(status.collect_usage_pieces(ctx))
        formatter.write_usage(f"{ctx.command_path} {status.name}", arguments, prefix=" " * len("Usage: "))


_TRANSFER: Final = TransferConfig(use_threads=False)
"""Uploads in the command's own thread, so that Ctrl-C ends it at once, even if S3 does not answer."""


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM. The command ends as after Ctrl-C, which raises the base class."""


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    statuses = [CompletionItem("status")] if incomplete and "status".startswith(incomplete) else []
    return [*statuses, CompletionItem(incomplete, type="file")]


@click.command(name="import", cls=_FilesOrStatus)
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    shell_complete=_complete,
)
@click.option("--map", "mapped", metavar="COLUMN=FIELD", multiple=True, help="Which field a column holds.")
@click.option("--ignore", "ignored", metavar="COLUMN", multiple=True, help="Leave out a column.")
@click.option("--restore-deleted", "restores", is_flag=True, help="Recreate customers that were deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print each summary as a line of JSON, for programs.")
@click.option("--dry-run", is_flag=True, help="Read and check the files here, and write nothing.")
@stack_option
def import_files(  # noqa: PLR0913 (one parameter per option)
    files: tuple[Path, ...],
    mapped: tuple[str, ...],
    ignored: tuple[str, ...],
    stack: str | None,
    *,
    restores: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Import files of customers.

    A file is CSV, JSON Lines or JSON, and may be gzipped. Files are imported one after another, and each ends with a
    summary: what happened to its rows, which were rejected and why, and where to find those, to correct and import
    again. The exit code is 1 if rows were rejected or a file is broken.

    A column that is not a field is an error, unless you say which field it holds (--map Mail=email, or
    --map Plan=metadata.plan) or leave it out (--ignore Notes). Use --dry-run to see how the columns are understood
    and which rows have errors, without writing anything.

    Interrupting the command does not stop an import that has begun: `customers import status` shows its progress. For
    a file named status, write ./status.
    """
    try:
        mapping = ColumnMapping.of_words(mapped, ignored)
    except MappingError as error:
        raise click.UsageError(error.detail) from None
    if dry_run:
        raise SystemExit(0 if preview_files(files, mapping, as_json=as_json) else 1)
    target = find_target(stack)
    signal.signal(signal.SIGTERM, _terminate)
    complete = True
    for number, file in enumerate(files, 1):
        metadata = mapping_metadata(mapped, ignored) | ({RESTORE_DELETED: "true"} if restores else {})
        running = _FileImport(target, file, metadata)
        try:
            summary = running.finish()
        except KeyboardInterrupt as interrupt:
            click.echo(_interrupted_text(running, files[number:], stack), err=True)
            ended_by = signal.SIGTERM if isinstance(interrupt, _TerminatedError) else signal.SIGINT
            raise SystemExit(128 + ended_by) from None
        except NO_ANSWER:
            # A deployed stack goes on without this command. The laptop forgets files that it has not read.
            if stack is not None or not running.uploaded:
                raise
            raise _stopped(file) from None
        click.echo(json.dumps(summary, ensure_ascii=False) if as_json else summary_text(target, str(file), summary))
        complete = complete and not summary["rejected"] and summary["broken"] is None
    if not complete:
        raise SystemExit(1)


class _FileImport:
    """The import of one file."""

    def __init__(self, target: Target, file: Path, metadata: Mapping[str, str]) -> None:
        self.file = file
        self._metadata = metadata
        self.import_id: str | None = None
        """Known once the service has begun the import."""
        self.uploaded = False
        self._target = target
        self._bucket = target.outputs["ImportBucketName"]
        self._imports = ImportStore(target.dynamodb, target.outputs["ImportsTableName"])

    def finish(self) -> dict[str, Any]:
        """Upload the file and wait for the summary."""
        # A key is UTF-8, and not every tool can handle one with a line break.
        name = os.fsencode(self.file.name).decode(errors="replace")
        key = f"imports/{_LINE_BREAKS.sub(' ', name)}"
        terminal = console(stderr=True)
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rows]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
        ) as progress:
            before = self._imports.latest(self._bucket, key)
            etag = self._upload(key, progress)
            return self._follow(key, etag, before, progress)

    def _upload(self, key: str, progress: Progress) -> str:
        """Upload the file, and return its ETag."""
        etags: list[str] = []

        def note(parsed: dict[str, Any], **_: object) -> None:
            etags.append(parsed.get("ETag", "").strip('"'))

        name = printable(self.file.name)
        task = progress.add_task(f"uploading {name}", total=self.file.stat().st_size, rows="bytes")
        # `upload_file` does not return the ETag, and asking for it later may show another upload.
        # https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
        events = self._target.s3.meta.events
        answers = ("after-call.s3.PutObject", "after-call.s3.CompleteMultipartUpload")
        for answer in answers:
            events.register(answer, note)
        self._target.s3.upload_file(
            str(self.file),
            self._bucket,
            key,
            ExtraArgs={"Metadata": self._metadata},
            Callback=lambda count: progress.advance(task, count),
            Config=_TRANSFER,
        )
        for answer in answers:
            events.unregister(answer, note)
        self.uploaded = True
        progress.remove_task(task)
        return etags[-1]

    def _etag(self, key: str) -> str:
        return self._target.s3.head_object(Bucket=self._bucket, Key=key)["ETag"].strip('"')

    def _follow(self, key: str, etag: str, before: tuple[str, str] | None, progress: Progress) -> dict[str, Any]:
        """Wait for the end of the import, and return its summary."""
        task = progress.add_task(f"importing {printable(self.file.name)}", total=None, rows="")
        while True:
            latest = self._imports.latest(self._bucket, key)
            if self.import_id is None and latest is not None and latest != before:
                if latest[1] == etag:
                    self.import_id = latest[0]
                elif self._etag(key) != etag:
                    name = printable(self.file.name)
                    raise click.ClickException(f"Another file named {name} was uploaded at the same time. Try again.")
            known = None if self.import_id is None else self._imports.find(self.import_id)
            if known is not None:
                progress.update(task, **_progress(known))
                if known.finished:
                    return self._summary(known)
            time.sleep(_LOOK_EVERY)

    def _summary(self, known: Import) -> dict[str, Any]:
        key = f"{report_folder(known.import_id, known.source)}{_SUMMARY}"
        answer = self._target.s3.get_object(Bucket=self._bucket, Key=key)
        summary: dict[str, Any] = json.loads(answer["Body"].read())
        if summary["rejected_rows"] is not None:
            self._target.wait_for_copy(summary["rejected_rows"])
        return summary


def _progress(known: Import) -> dict[str, Any]:
    rows = sum(known.counts)
    text = f"chunks, {rows:,} rows, {known.counts.rejected:,} rejected"
    return {"total": known.planned, "completed": known.booked, "rows": text}


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _stopped(file: Path) -> click.ClickException:
    return click.ClickException(
        f"The service stopped before {printable(str(file))} was imported. Start it with `make run`, and import the "
        "file again: rows that were written already do no harm."
    )


def _interrupted_text(running: _FileImport, waiting: Sequence[Path], stack: str | None) -> str:
    command = " ".join(["./customers import status", *([] if stack is None else ["--stack", shlex.quote(stack)])])
    name = printable(str(running.file))
    if running.import_id is None:
        lines = [f"Interrupted while uploading {name}. Unless `{command}` lists it, nothing was imported."]
        if running.uploaded:
            lines = [f"Interrupted. {name} is uploaded, and its import continues. To find it: {command}"]
    else:
        lines = [f"Interrupted. The import of {name} continues. To follow it: {command} {short_id(running.import_id)}"]
    if waiting:
        lines.append(f"Not imported: {', '.join(printable(str(file)) for file in waiting)}")
    return "\n".join(lines)
