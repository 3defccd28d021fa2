"""`customers import`: a file of customers, with a progress bar, up to its summary."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.target import find_target, stack_option
from customers.imports.bucket import FileDelivery, report_folder
from customers.imports.store import ImportStore

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

    from customers.imports.store import Import

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at how far it is."""


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@stack_option
def import_file(file: Path, stack: str | None) -> None:
    """Import a file of customers: CSV, JSON Lines or JSON, also gzip.

    Ends with the summary, and with exit code 1 if rows were rejected or the file is broken. The rejected rows are ready
    to be mended and imported again. To interrupt the command does not stop the import.
    """
    target = find_target(stack)
    console = Console(stderr=True)
    bucket, key = target.outputs["ImportBucketName"], f"imports/{file.name}"
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        upload = progress.add_task("uploading", total=file.stat().st_size, rows="bytes")
        target.s3.upload_file(str(file), bucket, key, Callback=lambda count: progress.advance(upload, count))
        uploaded = target.s3.head_object(Bucket=bucket, Key=key)
        import_id = FileDelivery(bucket, key, uploaded["ETag"].strip('"'), "").import_id
        summary_key = f"{report_folder(import_id, {'key': key})}summary.json"
        imports = ImportStore(target.dynamodb, target.outputs["ImportsTableName"])
        task = progress.add_task("importing", total=None, rows="")
        while not (summary := _summary(target.s3, bucket, summary_key, uploaded["LastModified"])):
            if (known := imports.find(import_id)) is not None:
                progress.update(task, **_progress(known))
            time.sleep(_LOOK_EVERY)
        progress.update(task, total=1, completed=1, rows=f"{summary['rows']:,} rows")
    click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    if summary["broken"] is not None:
        broken = summary["broken"]
        console.print(f"The file is broken at row {broken['row']}: {broken['detail']}", style="red")
    if summary["rejected_rows"] is not None:
        console.print(f"Rejected rows: {target.place(bucket, summary['rejected_rows'])}", style="red", soft_wrap=True)
    if summary["rejected"] or summary["broken"] is not None:
        raise SystemExit(1)


def _progress(known: Import) -> dict[str, Any]:
    rows = sum(known.counts)
    text = f"chunks, {rows:,} rows, {known.counts.rejected:,} rejected"
    return {"total": known.planned, "completed": known.booked, "rows": text}


def _summary(s3: S3Client, bucket: str, key: str, uploaded: datetime) -> dict[str, Any] | None:
    """Give the summary of an import; None while there is none, or only one from before the upload."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    if answer["LastModified"] < uploaded:
        return None
    summary: dict[str, Any] = json.loads(answer["Body"].read())
    return summary
