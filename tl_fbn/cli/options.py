"""Options and arguments of commands: those that several share, which mean the same everywhere, and those of a GLM.

Each is an annotated type: a parameter of a command with that type becomes the option. A help text is a sentence that
needs no other; a command with a different meaning declares an option of its own instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tl_fbn.errors import InputError

# of every command, or of several

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ProgressFlag = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress bars, or none; by default they are shown where standard error is a terminal.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        min=0, metavar="N", help="Seed of everything that is drawn at random; the same seed gives the same result."
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model: its name at Hugging Face (such as gpt2), a local folder (also one that tl-fbn prune wrote), a "
        ".gguf file, or demo, the small model that comes with the package.",
    ),
]
WordsModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="The model that was recorded (as for tl-fbn scan), loaded only to show the words that the units found "
        "promote: what their output weights add to the logits by themselves.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Device that the model runs on, such as cpu, cuda or cuda:1; by default a GPU if there is one.",
    ),
]
ModelDtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        "--model-dtype",
        metavar="DTYPE",
        help="Number type of the model's weights and activations: float32, bfloat16 or float16; auto for the one that "
        "the model was saved in.",
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What tables and pages call the model; by default its name, or that of its folder or file.",
        show_default=False,
    ),
]
VerifyFlag = Annotated[
    bool,
    typer.Option(
        "--verify/--no-verify",
        help="Read every recording once beforehand and compare it with its checksums, or leave that out; a damaged "
        "file is an error.",
    ),
]
RecordingArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help='Folder of a recording, written by "tl-fbn scan".')
]
SiteOption = Annotated[
    str | None,
    typer.Option(
        metavar="SITE",
        help="Site to read, such as mlp.neurons, where the recording holds several; one site needs no choice.",
    ),
]
OutFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Folder for the results; by default DIR/results.", show_default=False
    ),
]
BatchSizeOption = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Number of items in a forward pass of the model; it changes speed and memory only."
    ),
]
BatchTokensOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of tokens in a forward pass of the model, padding counted; it changes speed and memory only.",
    ),
]


# the noise model and the design matrix of "tl-fbn glm", named as in fbn.fit_glm and fbn.design_matrix

NoiseOption = Annotated[
    str,
    typer.Option(
        metavar="NOISE",
        help="Model of the noise: ar1 (autocorrelation of each unit), ar1_pooled (the same for all units of a layer), "
        "newey_west or ols (independent rows).",
    ),
]
MaxlagsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="With --noise newey_west: number of rows over which noise may be correlated."
    ),
]
ReplicatesOption = Annotated[
    str, typer.Option(metavar="UNIT", help="What the block level counts as independent: blocks or prompts.")
]
ConfoundOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Column of no interest to add to the design, such as log_position or surprisal; repeat the option for "
        "several.",
    ),
]
DriftOption = Annotated[
    str, typer.Option(metavar="DRIFT", help="Model of slow changes over a run: cosine, polynomial or none.")
]
CutoffOption = Annotated[
    float | None,
    typer.Option(
        metavar="ROWS",
        help="With --drift cosine: shortest period that counts as drift, in rows; by default four times the longest "
        "wait between two blocks of a condition.",
    ),
]
DegreeOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="With --drift polynomial: highest power; by default 1 + rows / 150."),
]
PositionOption = Annotated[bool, typer.Option(help="Include the place of a row in its context as a column.")]
FirstTokenOption = Annotated[
    bool,
    typer.Option(
        help="Include a column for the first tokens of prompts, which hold most of the variance of many models, and "
        "take block means without them; left out where rows are pooled or hold no first tokens."
    ),
]
KernelOption = Annotated[
    str,
    typer.Option(
        metavar="KERNEL",
        help="Shape of the response to a condition: none (constant while it lasts), leak (builds up and decays) or fir "
        "(free, one coefficient for each of --lags rows).",
    ),
]
LeakOption = Annotated[
    float | None,
    typer.Option(metavar="X", help="With --kernel leak: share of the response that is left after one row."),
]
LagsOption = Annotated[
    int, typer.Option(metavar="N", min=1, help="With --kernel fir: number of columns for each condition.")
]
AnswerAfterOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="Special token, such as [/INST], after which the rows of a prompt get a column of their own: sort becomes "
        "sort and sort_answer.",
    ),
]


def amount(text: str | None, option: str) -> int | float | None:
    """A number of units (``57``) or a share of them (``0.05``), from text.

    >>> amount("57", "--top"), amount("0.05", "--top")
    (57, 0.05)

    Args:
        text: What the user wrote; None where the option was not given.
        option: Name of the option, for the message of an error.

    Returns:
        An int is a number of units, at least 1; a float is a share between 0 and 1; None stays None.

    Raises:
        InputError: The text is neither a whole number of at least 1 nor a number between 0 and 1.
    """
    if text is None:  # the option was not given
        return None
    # "nan" and "inf" are numbers to float, and are refused below like any other text
    try:
        number = float(text)
    except ValueError:
        number = 0.0  # no number at all: refused below
    # "1.0" is refused: it could mean one unit or all of them
    if number >= 1 and number.is_integer() and "." not in text:
        return int(number)
    if not 0 < number < 1:
        raise InputError(f"{option} {text} is neither a number of units (57) nor a share of them (0.05)")
    return number
