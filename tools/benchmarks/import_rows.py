"""Makes a CSV of customers with a known number of bad rows, and corrects the rows that an import rejected.

python -m tools.benchmarks.import_rows make 1000000 rows.csv     # every hundredth row is bad; --keys: with external ids
python -m tools.benchmarks.import_rows mend rejected.csv mended.csv
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

FIELDS = ("first_name", "last_name", "email", "group_id", "age")
BAD_EVERY = 100
GROUPS = 1000
"""A group is a partition of each index: rows of a single group would measure only that partition."""


def make(rows: int, file: Path, *, keys: bool = False) -> None:
    """Write a file with this many rows, each with an external id if `keys`. One in a hundred is bad, in four ways."""
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.writer(output)
        writer.writerow((*FIELDS, "external_id") if keys else FIELDS)
        for number in range(1, rows + 1):
            row = [
                f"First{number}",
                f"Last{number}",
                f"customer.{number}@example.com",
                number % GROUPS + 1,
                number % 100,
            ]
            if number % BAD_EVERY == 0:
                place, value = ((0, ""), (2, "nobody"), (3, "none"), (4, "200"))[number // BAD_EVERY % 4]
                row[place] = value
            writer.writerow([*row, f"key-{number}"] if keys else row)
    print(f"{rows - rows // BAD_EVERY:,} good rows, {rows // BAD_EVERY:,} bad ones")


def mend(rejected: Path, file: Path) -> None:
    """Correct the fields of rejected rows that the report names."""
    right = {"first_name": "Mended", "email": "mended@example.com", "group_id": "1", "age": "50"}
    with rejected.open(encoding="utf-8", newline="") as source, file.open("w", encoding="utf-8", newline="") as output:
        reader = csv.DictReader(source)
        writer = csv.DictWriter(output, fieldnames=reader.fieldnames or FIELDS)
        writer.writeheader()
        count = 0
        for count, row in enumerate(reader, 1):  # noqa: B007 (printed below)
            for field, value in right.items():
                if f"{field}:" in row["import_errors"]:
                    row[field] = value
            writer.writerow(row)
    print(f"{count:,} rows corrected")


def main() -> int:
    """Make or correct a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("rows", type=int)
    making.add_argument("file", type=Path)
    making.add_argument("--keys", action="store_true")
    mending = commands.add_parser("mend")
    mending.add_argument("rejected", type=Path)
    mending.add_argument("file", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make(given.rows, given.file, keys=given.keys)
    else:
        mend(given.rejected, given.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
