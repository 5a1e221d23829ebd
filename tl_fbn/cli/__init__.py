"""Commands: ``tl-fbn demo | scan | glm | networks | cgvst | lesion | prune | report``; ``python -m tl_fbn`` is the same.

One module a command, each with its own help and examples; what they share is in :mod:`.shell` (how they speak, fail and
stop), :mod:`.options`, :mod:`.texts` (prompts and chats from files), :mod:`.places` (where results lie) and :mod:`.models`. No
configuration: what a command does is on its line. Nothing heavy is imported before a command runs.

Under ``torchrun`` (or any launcher that sets ``RANK`` and ``WORLD_SIZE``) the processes of a scan divide its runs among them; the folder
they share is all they need.
"""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from tl_fbn.cli import cgvst, demo, glm, lesion, networks, prune, report, scan
from tl_fbn.cli.console import Verbs
from tl_fbn.cli.models import load_model as load_model

app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tl-fbn {metadata.version('tl-fbn')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Functional neuroimaging for language models, on top of TransformerLens.

    Record a model while it reads, find the units that follow a task, silence them, and write it down. On the embedded model, in a
    minute and without a network:

    \b
      tl-fbn scan demo demo:sort,rest -o sort
      tl-fbn glm sort "sort - rest" --top 0.05 --by effect --positive --name sort
      tl-fbn lesion demo sort/results/network-sort.safetensors --battery demo
      tl-fbn report sort

    Every command explains itself: tl-fbn scan --help. With --json it prints one JSON object on standard output; progress and
    notes go to standard error.

    \b
    Exit status: 0    done
                 1    an unexpected error; its traceback is shown
                 2    bad input; one line says what is wrong and what is allowed
                 130  interrupted; one line says what is kept
    """


for _verb in (demo, scan, glm, networks, cgvst, lesion, prune, report):
    app.command(_verb.__name__.rpartition(".")[2], short_help=_verb.SHORT)(_verb.command)


def main() -> None:
    """Entry point of ``tl-fbn``."""
    app()


if __name__ == "__main__":
    main()
