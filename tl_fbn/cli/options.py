"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tl_fbn.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Progress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Progress bars; by default where they go to a terminal."),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Decides everything that is left to chance.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help='A Hugging Face name, a local folder (pruned ones too), or "demo", the embedded model.'
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="Where the model runs; by default a GPU if there is one.")
]
ModelDtype = Annotated[
    str,
    typer.Option(
        "--dtype", "--model-dtype", metavar="DTYPE", help="float32, bfloat16 or float16: the model's own numbers."
    ),
]
RecordingFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of a recording, as tl-fbn scan writes it.")
]
Site = Annotated[str | None, typer.Option(metavar="SITE", help="Which site, where the recording holds several.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Folder for the results; by default DIR/results.", show_default=False
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, metavar="N", help="Items in a pass; changes speed and memory only.")]


def amount(text: str | None, option: str) -> int | float | None:
    """A number of units (``57``) or a share of them (``0.05``).

    Raises:
        InputError: Neither.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number >= 1 and number.is_integer() and "." not in text:
        return int(number)
    if not 0 < number < 1:
        raise InputError(f"{option} {text} is neither a number of units (57) nor a share of them (0.05)")
    return number
