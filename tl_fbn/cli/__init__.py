"""The commands of ``tl-fbn``: ``demo | scan | glm | networks | cgvst | lesion | prune | paper | report``.

``python -m tl_fbn`` is the same. Each command is one module with its own help and examples. What they share is in
:mod:`.console` (output, errors and exit statuses), :mod:`.options`, :mod:`.input_files` (prompts, chats and batteries
from files), :mod:`.result_files` (where results lie) and
:mod:`.model_argument`. There are no configuration files: what a
command does is on its line. Nothing heavy is imported before a command runs.

Under ``torchrun`` (or any launcher that sets ``RANK`` and ``WORLD_SIZE``) the processes of a scan divide its runs among
them; the folder they share is all they need.
"""

from __future__ import annotations

import sys
import traceback
from importlib import metadata
from typing import Annotated

import typer

from tl_fbn.cli import cgvst, demo, glm, lesion, networks, paper, prune, report, scan
from tl_fbn.cli.console import CommandGroup
from tl_fbn.errors import visible

app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    pretty_exceptions_enable=False,  # errors are told by console.py
    rich_markup_mode=None,  # help texts hold brackets, such as [INST], which are no markup
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tl-fbn {metadata.version('tl-fbn')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Functional neuroimaging for language models, on top of TransformerLens.

    Record a model while it reads, find the units that follow a task, silence them, and write it down. On the embedded
    model, in a minute and without an internet connection:

    \b
      tl-fbn scan demo demo:sort,reverse -o sort
      tl-fbn glm sort "sort - reverse" --top 0.05 --by effect --positive --name sort
      tl-fbn lesion demo sort/results/network-sort.safetensors --battery demo
      tl-fbn report sort

    Every command explains itself: tl-fbn scan --help. With --json it prints one JSON object on standard output;
    progress and notes go to standard error.

    \b
    Exit status: 0    done
                 1    an unexpected error; its traceback is shown
                 2    bad input; one line says what is wrong and what is allowed
                 130  interrupted; one line says what is kept
    """


# in the order of the help: the demo, then the steps of an analysis
for _module in (demo, scan, glm, networks, cgvst, lesion, prune, paper, report):
    app.command(_module.__name__.rpartition(".")[2], short_help=_module.SHORT)(_module.command)


def main() -> None:
    """Entry point of ``tl-fbn``."""
    try:
        app()
    except Exception:  # a bug: its traceback is told, without what a name in it would do to the terminal
        typer.echo(visible(traceback.format_exc()), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
