"""Phrases that the sentences of several results share: lists of names, spaces in words, what was not recorded.

The methods section of a report is made of what results carry and of nothing else. What a result does not carry is
called :data:`NOT_RECORDED` and never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

from tl_fbn.units.space import UnitSpace

# one wording everywhere: readers of a report can search for it
NOT_RECORDED = "not recorded"
# with 1 added to both counts a p from n controls is never 0
P_FORMULA = "p = (1 + number of controls at least as extreme) / (1 + number of controls)"


def listed(names: Sequence[object], most: int = 12) -> str:
    """Names as part of a sentence: ``a, b and c``.

    >>> listed(["sort", "add", "copy"]), listed([]), listed(range(5), most=2)
    ('sort, add and copy', 'none', '0, 1 and 3 more')

    Args:
        names: The names; none at all become ``none``.
        most: Number of names to show; the others are counted.
    """
    shown = [str(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    if len(shown) > 1:
        return f"{', '.join(shown[:-1])} and {shown[-1]}"
    return shown[0] if shown else "none"


def space_in_words(space: UnitSpace | None) -> str:
    """A space as part of a sentence: model, site, number of units and of layers that have any.

    >>> space_in_words(UnitSpace("mlp.neurons", (3, 0, 4), model="toy"))
    'toy at mlp.neurons (7 units in 2 layers)'

    Args:
        space: The space; None where a result does not say.
    """
    if space is None:
        return f"a space that is {NOT_RECORDED}"
    layers = sum(width > 0 for width in space.widths)
    return f"{space.model} at {space.site} ({space.n_units:,} units in {layers} layers)"


def duration_in_words(seconds: float) -> str:
    """A time in seconds, minutes or hours, whichever reads best.

    Args:
        seconds: The time in seconds.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
