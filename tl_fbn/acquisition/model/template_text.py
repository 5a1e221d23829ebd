"""What a chat template writes around messages, found by rendering it with placeholders in their place.

Three things are told from the text alone, for chats of one sequence of roles:

- *pieces*: the template's text before the first message, between messages, and after the last;
- *closes*: of the text between two messages, how much closes the first of them: what the template writes even if the
  second never comes;
- the *preamble*: what the template says by itself before the conversation. It stands where a system message would, and
  rendering the same chat with a system message shows where that is: between the text that opens such a message (A) and
  the text that leads from it to the first message (B). A may end in words of its own, such as a date; the marker that
  opens a system message is that which opens a user's, with the other role's name in it.

Cost: a few renderings for each sequence of roles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tl_fbn.acquisition.design.prompt_forms import Chat
from tl_fbn.errors import InputError

Roles = tuple[str, ...]
Renderer = Callable[[Chat], str]
# a number between two characters of private use, which templates do not contain
_MARK = "\ue000(\\d+)\ue001"
_UNNUMBERED = "\ue000\\d+\ue001"  # the same without a group, for re.split


@dataclass(frozen=True)
class TemplateText:
    """The template's own text in chats of one sequence of roles.

    Args:
        pieces: Text before the first message, between messages, and after the last.
        closes: For each message, how many characters of the text before it close the message before that.
        preamble: First character, and the one behind the last, of what the template says by itself before the
            conversation; all within the first piece. (0, 0) where it says nothing.
    """

    pieces: list[str]
    closes: list[int]
    preamble: tuple[int, int]


def template_text(roles: Roles, render: Renderer, render_bare: Renderer, specials: Sequence[str] = ()) -> TemplateText:
    """The template's own text in chats of these roles.

    Args:
        roles: Role of each message.
        render: Renders a chat as it will be shown.
        render_bare: Renders a chat without opening an answer behind it.
        specials: The tokenizer's special tokens as text, such as ``<s>``; at the beginning they are no preamble.

    Raises:
        InputError: The template leaves out or repeats messages, or refuses such a chat.
    """
    pieces = _pieces(roles, render)
    if pieces is None:
        raise InputError(
            "the tokenizer's chat template leaves out or repeats messages, so its special tokens cannot be told from "
            "the text; give spans="
        )
    closes = [0] * len(roles)
    for number in range(1, len(roles)):
        if roles[number] == "user":
            opening = _without_closing(roles[:number], pieces[number], render_bare)
            closes[number] = 0 if opening is None else len(pieces[number]) - len(opening)
    return TemplateText(pieces, closes, _preamble(roles, pieces, render_bare, specials))


def _pieces(roles: Roles, render: Renderer) -> list[str] | None:
    """The template's text around placeholders; None where a placeholder is missing, repeated or out of order."""
    text = render(_placeholders(roles))
    if re.findall(_MARK, text) != [str(number) for number in range(len(roles))]:
        return None
    return re.split(_UNNUMBERED, text)


def _placeholders(roles: Sequence[str]) -> Chat:
    return tuple((role, f"\ue000{number}\ue001") for number, role in enumerate(roles))


def _without_closing(before: Roles, piece: str, render: Renderer) -> str | None:
    """The text between two messages less what the template writes even if the second never comes; None if mixed."""
    tail = re.split(_UNNUMBERED, render(_placeholders(before)))[-1]
    return piece[len(tail) :] if piece.startswith(tail) else None


def _preamble(roles: Roles, pieces: Sequence[str], render: Renderer, specials: Sequence[str]) -> tuple[int, int]:
    """Where the preamble stands in the first piece, as (start, stop); (0, 0) where there is none."""
    opening = pieces[0]
    marker = _opening_marker(render)  # what opens a user's message
    if roles[0] == "system":
        # nothing can be told from a first piece whose marker is unknown
        start = _end_of_marker(opening, marker)
        return _visible(opening, start, len(opening)) if start else (0, 0)
    with_system = _tried_pieces(("system", *roles), render)
    if with_system is not None:
        before, after = with_system[:2]
        start = _end_of_marker(before, marker) or len(before)
        stop = len(opening) - len(after)
        same = opening.startswith(before[:start]) and opening.endswith(after)
        return _visible(opening, start, stop) if same else (0, 0)
    # no place for a system message: words between the beginning of text and the marker of the user's message
    if marker and opening.endswith(marker):
        stop = len(opening) - len(marker)
        start = 0
        while special := next((one for one in specials if one and opening[start:stop].startswith(one)), None):
            start += len(special)
        return _visible(opening, start, stop)
    return 0, 0


def _opening_marker(render: Renderer) -> str:
    """What the template writes to open a user's message behind an answer; empty where that cannot be told."""
    pieces = _tried_pieces(("user", "assistant", "user"), render)
    return (_without_closing(("user", "assistant"), pieces[2], render) or "") if pieces else ""


def _end_of_marker(before: str, marker: str) -> int:
    """Where the marker that opens a system message ends in the text before its content; 0 where it is not found."""
    of_system = marker.replace("user", "system")
    at = before.find(of_system) if of_system != marker else -1
    return at + len(of_system) if at >= 0 else 0


def _tried_pieces(roles: Roles, render: Renderer) -> list[str] | None:
    """The pieces for these roles; None where the template refuses such chats, or does not show them as they are."""
    try:
        return _pieces(roles, render)
    except InputError:
        return None


def _visible(text: str, start: int, stop: int) -> tuple[int, int]:
    """The span without white space at its ends; (0, 0) where nothing else is in it."""
    inside = text[start:stop] if start < stop else ""
    if not inside.strip():
        return 0, 0
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())
