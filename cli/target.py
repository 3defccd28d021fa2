"""Which service a command is for: the laptop's, or a stack in an AWS account."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO
from urllib.parse import urlsplit

import boto3
import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004 (botocore's name)

from customers.errors import StoreUnavailableError
from customers.store.cursor_keys import CursorKeys
from customers.store.history import HistoryStore
from customers.store.tokens import TokenStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

_STACK: Final = "cli.target.stack"
"""The key of the requested stack in click's `meta`, which a command shares with its groups."""
_CONNECT_SECONDS: Final = 2
_COPY_SECONDS: Final = 10
_LOOK_EVERY: Final = 0.05
"""Seconds between two checks for a copy."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.~+/=-]+")
"""What a bearer token looks like (RFC 6750, section 2.1)."""
NO_ANSWER: Final = (StoreUnavailableError, ConnectionError, HTTPClientError)
"""What the calls of a service raise that does not answer; `no_answer` says so."""

stack_option = click.option(
    "--stack", metavar="NAME", help="A deployed stack. Default: the service that `make run` started in DATA_DIR."
)


class Target(NamedTuple):
    """A service, and how to reach its parts."""

    dynamodb: DynamoDBClient
    s3: S3Client
    outputs: Mapping[str, str]
    """The outputs of its stack."""
    url: str
    """The address of its API."""
    mirror: Path | None
    """Where the laptop keeps the import bucket as a folder. None for a deployed stack."""

    def api(self) -> tuple[str, str]:
        """Return the address of its API, and a token.

        Raises
        ------
        click.ClickException
            There is no token, or it cannot be one.
        """
        token, origin = os.environ.get("CUSTOMERS_TOKEN", "").strip(), "CUSTOMERS_TOKEN"
        if not token and self.mirror is not None:
            file = self.mirror.parent / "token"
            token, origin = file.read_text(encoding="utf-8").strip() if file.is_file() else "", str(file)
        if not token:
            raise click.ClickException("Put a token for the API into the environment variable CUSTOMERS_TOKEN.")
        if not _TOKEN.fullmatch(token):
            raise click.ClickException(f"What is in {origin} is no token: it has spaces, quotes or other characters.")
        return self.url, token

    def tokens(self) -> TokenStore:
        """Return its store of tokens."""
        return TokenStore(self.dynamodb, self.outputs["TokensTableName"])

    def history(self) -> HistoryStore:
        """Return its store of history.

        Raises
        ------
        click.ClickException
            The service keeps no history.
        """
        if "HistoryTableName" not in self.outputs:
            raise click.ClickException("This service keeps no history: it runs with HistoryDays=0.")
        return HistoryStore(self.dynamodb, self.outputs["HistoryTableName"])

    def cursor_keys(self) -> CursorKeys:
        """Return its store of cursor keys."""
        return CursorKeys(self.dynamodb, self.outputs["AnswersTableName"])

    def open_text(self, key: str) -> TextIO | None:
        """Open a text in the import bucket. None if it is not there."""
        stored: Any
        try:
            stored = self.s3.get_object(Bucket=self.outputs["ImportBucketName"], Key=key)["Body"]
        except self.s3.exceptions.NoSuchKey:
            # The laptop's bucket is empty after a restart; its folder is not.
            if self.mirror is None or not (self.mirror / key).is_file():
                return None
            stored = (self.mirror / key).open("rb")
        return io.TextIOWrapper(stored, encoding="utf-8-sig", errors="replace", newline="")

    def wait_for_copy(self, key: str) -> None:
        """Wait until the laptop has copied an object of the import bucket into its folder."""
        until = time.monotonic() + _COPY_SECONDS
        while self.mirror and not (self.mirror / key).is_file() and time.monotonic() < until:
            time.sleep(_LOOK_EVERY)

    def place(self, key: str) -> str:
        """Return where people find an object of the import bucket."""
        if self.mirror is None:
            return f"s3://{self.outputs['ImportBucketName']}/{key}"
        path, here = self.mirror / key, Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)


def find_target(stack: str | None) -> Target:
    """Find a service.

    Parameters
    ----------
    stack
        The name of a deployed stack, in the account and region of this shell's AWS settings. None for the service of
        `make run`.

    Raises
    ------
    click.ClickException
        There is no such service.
    """
    click.get_current_context().meta[_STACK] = stack
    return _laptop() if stack is None else _deployed(stack)


def no_answer(context: click.Context, error: Exception) -> click.ClickException:
    """Return the error to show when a service stops answering during a command."""
    stack = context.meta.get(_STACK)
    if stack is None:
        data = _data()
        if _running(data) is None:
            return _not_running(data)
        return click.ClickException(f"The service in {data} does not answer. Try again, or restart `make run`.")
    return click.ClickException(f"AWS does not answer for the stack {stack}. Try again. ({error.__cause__ or error})")


def _data() -> Path:
    return Path(os.environ.get("DATA_DIR") or ".local")


def _not_running(data: Path) -> click.ClickException:
    return click.ClickException(
        f"No service is running in {data}. Start it with `make run`, choose another folder with DATA_DIR, "
        "or name a deployed stack with --stack."
    )


def _laptop() -> Target:
    data = _data()
    running = _running(data)
    if running is None:
        raise _not_running(data)
    # The service may be stopped at any moment, and answers at once or never. So do not retry.
    settings: Any = {"connect_timeout": _CONNECT_SECONDS, "retries": {"total_max_attempts": 1}}
    session = boto3.Session(
        region_name="us-east-1",
        # Placeholders: the engines do not check them.
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )
    return Target(
        session.client("dynamodb", endpoint_url=running["dynamodb"], config=Config(**settings)),
        # The bucket goes into the path, because names like bucket.127.0.0.1 do not resolve.
        session.client("s3", endpoint_url=running["aws"], config=Config(**settings, s3={"addressing_style": "path"})),
        running["outputs"],
        running["url"],
        data / "import-bucket",
    )


def _running(data: Path) -> dict[str, Any] | None:
    """Return the endpoints of the service that keeps its data in a folder. None if it is not running."""
    try:
        running: dict[str, Any] = json.loads((data / "endpoints.json").read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    # The file stays behind when a service is killed.
    return running if all(_listens(running[name]) for name in ("dynamodb", "aws")) else None


def _listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _deployed(stack: str) -> Target:
    try:
        answer = boto3.client("cloudformation").describe_stacks(StackName=stack)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0].get("Outputs", [])}
        if "TokensTableName" not in outputs:
            raise click.ClickException(
                f"The stack {stack} is not a customers service: it has no output TokensTableName."
            )
        return Target(boto3.client("dynamodb"), boto3.client("s3"), outputs, outputs["ApiUrl"], None)
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(f"The stack {stack} cannot be found: {error}") from error
