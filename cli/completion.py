"""`customers completion`: shell completion for commands, options and file names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script for shell completion.

    \b
    bash   eval "$(./customers completion bash)"      in ~/.bashrc
    zsh    eval "$(customers completion zsh)"         in ~/.zshrc
    fish   customers completion fish | source         in ~/.config/fish/config.fish

    zsh and fish need the command on the PATH: ln -s "$PWD/customers" ~/.local/bin/
    """  # noqa: D301 (click's mark: do not rewrap these lines)
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - the choices above are click's own
    root = ctx.find_root()
    click.echo(script(root.command, {}, "customers", "_CUSTOMERS_COMPLETE").source())
