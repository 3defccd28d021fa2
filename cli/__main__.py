"""`customers`: the command line."""

from __future__ import annotations

import click
from botocore.exceptions import BotoCoreError, ClientError

from cli.import_file import import_file
from cli.laptop import logs, reset, status
from cli.token import token
from customers.errors import StoreUnavailableError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Manage a customers service: the one of `make run`, or a deployed stack with --stack NAME."""


main.add_command(import_file)
main.add_command(token)
main.add_command(status)
main.add_command(logs)
main.add_command(reset)

if __name__ == "__main__":
    try:
        main(prog_name="customers")
    except StoreUnavailableError:
        raise SystemExit("Error: The service's tables do not answer. On the laptop: is `make run` running?") from None
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"Error: {error}") from None
