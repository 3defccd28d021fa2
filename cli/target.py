"""Which service a command is for: the laptop's, or a stack in an AWS account."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import boto3
import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from customers.store.tokens import TokenStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

stack_option = click.option("--stack", metavar="NAME", help="A deployed stack. Default: the service of `make run`.")


class Target(NamedTuple):
    """A service, and how to reach what it is made of."""

    dynamodb: DynamoDBClient
    s3: S3Client
    outputs: Mapping[str, str]
    """The outputs of its stack."""
    mirror: Path | None
    """Where the laptop keeps the import bucket as a folder; None for a deployed stack."""

    def tokens(self) -> TokenStore:
        """Give its table of tokens."""
        return TokenStore(self.dynamodb, self.outputs["TokensTableName"])

    def place(self, bucket: str, key: str) -> str:
        """Say where people find an object of the import bucket."""
        return f"s3://{bucket}/{key}" if self.mirror is None else str(self.mirror / key)


def find_target(stack: str | None) -> Target:
    """Find a service.

    Parameters
    ----------
    stack
        The name of a deployed stack, in the account and region that the AWS settings of this shell name; None for the
        laptop's, which is running under `make run`.

    Raises
    ------
    click.ClickException
        There is none.
    """
    return _laptop() if stack is None else _deployed(stack)


def _laptop() -> Target:
    data = Path(os.environ.get("DATA_DIR") or ".local")
    try:
        running = json.loads((data / "endpoints.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        raise click.ClickException(
            f"No service in {data}. Start one with `make run`, or name a deployed one: --stack NAME."
        ) from None
    session = boto3.Session(
        region_name="us-east-1",
        # Words that the engines do not check.
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
    )
    return Target(
        session.client("dynamodb", endpoint_url=running["dynamodb"]),
        # With the bucket in the path: names like bucket.127.0.0.1 do not resolve.
        session.client("s3", endpoint_url=running["aws"], config=Config(s3={"addressing_style": "path"})),
        running["outputs"],
        data / "import-bucket",
    )


def _deployed(stack: str) -> Target:
    try:
        answer = boto3.client("cloudformation").describe_stacks(StackName=stack)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0].get("Outputs", [])}
        if "TokensTableName" not in outputs:
            raise click.ClickException(f"The stack {stack} is no customers service: it has no output TokensTableName.")
        return Target(boto3.client("dynamodb"), boto3.client("s3"), outputs, None)
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(f"The stack {stack} cannot be found: {error}") from error
