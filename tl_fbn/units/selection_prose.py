"""How the units of networks were chosen, in sentences for a paper, read from provenance alone.

Provenance of a network holds how its map was made (``method``, ``contrast``, ``level`` ...) and either ``selection``
(the largest values, from :meth:`UnitMap.top`) or ``threshold`` (a test). What it does not hold is called "not
recorded".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tl_fbn.units.prose import NOT_RECORDED, listed

if TYPE_CHECKING:
    from tl_fbn.units.network import Network

# corrections for multiple tests, by the names that Contrast.threshold takes
CORRECTIONS = {
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "layers": "layers first, then units",
    "holm": "Holm",
    "bonferroni": "Bonferroni",
}


def sentences(networks: Sequence[Network]) -> list[str]:
    """How networks were chosen, in one sentence for all that were chosen in the same way.

    Args:
        networks: The networks.
    """
    # networks by the sentence that tells their rule, in the order in which the first of each came
    by_rule: dict[str, list[Network]] = {}
    for network in networks:
        by_rule.setdefault(how_chosen(network.provenance), []).append(network)
    return [_sentence(how, group) for how, group in by_rule.items()]


def _sentence(how: str, group: Sequence[Network]) -> str:
    """One sentence about networks that were chosen in the same way: their names, sizes, and how."""
    many = len(group) > 1
    sizes = sorted({len(network) for network in group})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    units = f"{size} unit" if sizes == [1] else f"{size} units"
    each = " each" if many and len(sizes) == 1 else ""
    names = listed([network.name for network in group])
    return f"Network{'s' if many else ''} {names} ({units}{each}): {how}."


def how_chosen(provenance: Mapping[str, Any]) -> str:
    """The rule by which units were chosen, as part of a sentence: a selection of the largest values, or a threshold.

    Args:
        provenance: Provenance of the network.
    """
    if not provenance:
        return f"how they were chosen is {NOT_RECORDED}"
    source = source_in_words(provenance)
    # UnitMap.top writes the entry "selection", a test or an ICA writes "threshold"
    if isinstance(selection := provenance.get("selection"), Mapping):
        bar = "|" if selection.get("two_sided") else ""
        layers = " of every layer" if selection.get("per_layer") else ""
        kind = str(selection.get("kind")).replace("_", " ")
        what = f"the {_amount(selection['top'])}{layers} with the largest {bar}{kind}{bar} of {source}"
        return what + _ties(selection)
    if isinstance(rule := provenance.get("threshold"), Mapping):
        return f"units of {source} with {_threshold(rule)}"
    return f"{source}; threshold {NOT_RECORDED}"


def source_in_words(provenance: Mapping[str, Any]) -> str:
    """What the values of a map are, as part of a sentence: a contrast, a gradient score, a conjunction ...

    Args:
        provenance: Provenance of the map, or of a network that was chosen from it.
    """
    method = provenance.get("method")
    contrast = provenance.get("contrast")
    if method in ("glm", "max_t"):
        name = contrast if isinstance(contrast, str) else listed(contrast or [NOT_RECORDED])
        if "contrast_name" in provenance:
            name = f"{provenance['contrast_name']} ({name})"
        level = f" at the {provenance['level']} level" if "level" in provenance else ""
        return f"the contrast {name}{level}" + (" (maximum statistic)" if method == "max_t" else "")
    if method == "cgvst":
        return f"CGVST ({provenance.get('variant')}, {provenance.get('tokens')} tokens)"
    if method == "conjunction":
        return f"the conjunction (smallest value) of {_conjoined(provenance.get('of') or ())}"
    named = str(method or NOT_RECORDED).replace("_", " ")
    return f"{named} of {contrast}" if contrast else named


def _ties(selection: Mapping[str, Any]) -> str:
    """How equal values at the cut were told apart, as the end of a sentence; nothing where none were equal."""
    if not selection.get("tied"):
        return ""
    drawn = f"{selection.get('drawn', NOT_RECORDED)} of {selection['tied']:,} units with the value at the cut"
    return f" ({drawn} were drawn, spread over layers, seed {selection.get('seed', NOT_RECORDED)})"


def _amount(top: int | float) -> str:
    if isinstance(top, float) and top < 1:
        return f"{100 * top:.3g} % of the units"
    return "1 unit" if top == 1 else f"{top} units"


def _conjoined(parts: Sequence[Mapping[str, Any]]) -> str:
    """The contrasts of a conjunction: "a - b" and "a - c" become "a against each of b and c"."""
    contrasts = [str(part.get("contrast_name", part.get("contrast", NOT_RECORDED))).replace("`", "") for part in parts]
    sides = [one.split(" - ") for one in contrasts]
    # only if all contrasts have two sides and share the first
    if len(sides) > 1 and all(len(pair) == 2 for pair in sides) and len({first for first, _ in sides}) == 1:
        return f"{sides[0][0]} against each of {listed([second for _, second in sides])}"
    return f"the contrasts {listed(contrasts)}" if contrasts else f"contrasts {NOT_RECORDED}"


def _threshold(rule: Mapping[str, Any]) -> str:
    """A threshold as part of a sentence, by the entry that tells which kind it was: fdr, fwe, top or a plain z."""
    method = rule.get("method")
    if "fdr" in rule:
        what = f"a false discovery rate of {rule['fdr']:g} ({CORRECTIONS[method or 'bh']})"
    elif "fwe" in rule:
        what = f"a family-wise error of {rule['fwe']:g}" + (f" ({CORRECTIONS[method]})" if method else "")
    elif "top" in rule:
        what = f"the largest {str(rule.get('by', 't')).replace('_', ' ')} (top {rule['top']:g}, no test){_ties(rule)}"
    elif "threshold" in rule:
        what = f"z at least {rule['threshold']}"
    else:
        what = f"a threshold that is {NOT_RECORDED}"
    sides = "" if "two_sided" not in rule else ", two-sided" if rule["two_sided"] else ", one-sided"
    least = f", and an effect of at least {rule['min_effect']:g}" if rule.get("min_effect") else ""
    return what + sides + least
