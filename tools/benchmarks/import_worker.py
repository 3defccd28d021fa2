"""What the import worker costs compared with AWS's sample: `csv` and `batch_writer`, without any checks.

Both write the same rows into one table, taking turns. Theirs does not get the bad ones. Ours gets them as messages of
the chunk queue: it checks each row, skips those that exist, keeps those it rejects for the report, and records counts.

Run as `make bench-imports`; it writes its table and its plot into docs/performance.md.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from statistics import median

import boto3

from customers.imports.chunks import Chunk, cuts
from customers.imports.files.reader import RowReader
from local.services.aws import Services
from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.document import Template
from local.template.stack import read_stack
from tools.benchmarks.contenders import ROOT
from tools.benchmarks.import_rows import BAD_EVERY, make
from tools.benchmarks.report import Bar, bars, replace_part, table

ROUNDS = 25
ROWS = 5_000


def main() -> None:
    """Measure, and write the results down."""
    stack = read_stack(Template(Path("template.yaml"), {}, stack_id="arn:aws:cloudformation:us-east-1:1:stack/b/1"))
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path("node_modules"), Path(folder, "tables"), Path(folder, "engine.log"))
        services = Services(Path(folder, "services.log"), Path(folder, "events.jsonl"))
        try:
            create_tables(engine.endpoint, stack.tables)
            services.declare(stack.events)
            os.environ |= {
                **stack.functions["ImportCustomers"].environment,
                "AWS_ENDPOINT_URL": services.endpoint,
                "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint,
                "AWS_ENDPOINT_URL_EVENTBRIDGE": services.endpoint,
                "AWS_ENDPOINT_URL_S3": services.endpoint,
                "AWS_ENDPOINT_URL_SQS": services.endpoint,
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            plain, keyed = Path(folder, "plain.csv"), Path(folder, "keyed.csv")
            make(ROWS, plain)
            make(ROWS, keyed, keys=True)
            _measure(plain.read_bytes(), keyed.read_bytes())
        finally:
            services.close()
            engine.close()


def _measure(data: bytes, keyed: bytes) -> None:
    import customers.aws.cold_start  # noqa: PLC0415 - stops the collector until its `over`
    from customers.imports.run import Imports  # noqa: PLC0415 - reads the environment
    from customers.store.rows import RowStore  # noqa: PLC0415

    imports = Imports()
    store = RowStore(imports.dynamodb, os.environ["CUSTOMERS_TABLE"])
    unchecked = boto3.resource("dynamodb").Table(os.environ["CUSTOMERS_TABLE"])
    # As the function does, and here for both.
    customers.aws.cold_start.over()

    def imported(name: str, data: bytes, outcome: str) -> float:
        """Import rows that all have this outcome. Return rows per CPU-second, without the planner's work of cutting."""
        known = imports.store.begin(sha256(name.encode()).hexdigest(), {"bucket": "b", "key": f"imports/{name}"})
        messages = [
            Chunk(known.import_id, index, position.layout, known.started_at, restore=False, rows=rows).message()
            for index, (rows, position) in enumerate(cuts(RowReader(io.BytesIO(data))), 1)
            if rows
        ]
        start = time.process_time()
        for message in messages:
            imports.write_customers(Chunk.of_message(message), store)
        seconds = time.process_time() - start
        counts = imports.store.get(known.import_id).counts
        if getattr(counts, outcome) + counts.rejected != ROWS:
            raise SystemExit(f"not all rows are {outcome}: {counts}")
        return ROWS / seconds

    imported("keys", keyed, "created")
    created, unchanged, theirs = [], [], []
    for number in range(ROUNDS):
        # A row without a key is known by its content: only different content is new.
        new = data.replace(b"@example.com", b"@%d.example.com" % number)
        created.append(imported(f"new {number}", new, "created"))
        unchanged.append(imported(f"again {number}", keyed, "unchanged"))
        start = time.process_time()
        written = 0
        with unchecked.batch_writer() as writer:
            for index, row in enumerate(csv.DictReader(io.StringIO(data.decode())), 1):
                if index % BAD_EVERY:
                    numbers = {"group_id": int(row["group_id"]), "age": int(row["age"])}
                    writer.put_item(Item={"id": 10**12 + number * ROWS + index, **row, **numbers})
                    written += 1
        theirs.append(written / (time.process_time() - start))
    _report(created, unchanged, theirs)


def _report(created: list[float], unchanged: list[float], theirs: list[float]) -> None:
    def row(name: str, ours: list[float]) -> tuple[str, str, str]:
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        return name, f"{median(ours):,.0f}", f"{ratio:.2f}"

    rows = [
        row("`import_customers`, new rows", created),
        row("`import_customers`, rows with an `external_id` that are as stored", unchanged),
        row("`csv` and `batch_writer`", theirs),
    ]
    text = table((f"{ROWS:,} rows, median of {ROUNDS}", "rows a CPU-second", "ratio"), rows)
    print(f"\n{text}")
    replace_part(ROOT / "docs" / "performance.md", "import-worker", text)
    drawn = [
        Bar("import_customers, new rows", median(created), ours=True),
        Bar("import_customers, unchanged rows", median(unchanged), ours=True),
        Bar("csv and batch_writer, unchecked", median(theirs), ours=False),
    ]
    plot = bars("An import's worker, rows a CPU-second", drawn)
    (ROOT / "docs" / "import-worker.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
