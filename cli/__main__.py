"""`customers`: the command line."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path
from typing import Any, Final

import click
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from cli.completion import completion
from cli.cursor_key import rotate_cursor_key
from cli.export import export
from cli.group import SuggestingGroup
from cli.history import audit, history
from cli.import_files import import_files
from cli.laptop import logs, reset, status
from cli.restore import restore
from cli.target import NO_ANSWER, no_answer
from cli.token import token

_INTERRUPTED: Final = 130
"""128 plus SIGINT's number, as in shells."""


class _Customers(SuggestingGroup):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (click's own)
        """Run a command. Turn errors in reaching a service into one line that says what to do."""
        try:
            return super().invoke(ctx)
        except NO_ANSWER as error:
            raise no_answer(ctx, error) from None
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            # click handles this: the program that reads the output has gone.
            if error.errno == errno.EPIPE:
                raise
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)


def _version() -> str:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


@click.group(
    cls=_Customers,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The environment variable DATA_DIR names the folder where `make run` keeps the service's data. "
    "Default: .local, beside this command.",
)
@click.version_option(_version(), message="customers %(version)s")
def main() -> None:
    """Manage a customers service: the one that `make run` started, or a deployed stack with --stack NAME."""


main.add_command(completion)
main.add_command(import_files)
main.add_command(export)
main.add_command(history)
main.add_command(audit)
main.add_command(restore)
main.add_command(token)
main.add_command(rotate_cursor_key)
main.add_command(status)
main.add_command(logs)
main.add_command(reset)

if __name__ == "__main__":
    main(prog_name="customers")
