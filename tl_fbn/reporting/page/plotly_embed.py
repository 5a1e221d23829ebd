"""Pictures of the page: a plotly figure as JSON that is small, and safe inside a script element.

The title is moved out into a caption, which can wrap. Numbers are kept to what a screen shows: arrays of floats as
4-byte floats (relative error 6e-8), arrays of integers in the fewest bytes that hold them, both in plotly's own base64
form; floats in plain lists to six significant digits. So a cell of a map costs 5.3 characters (4 bytes in base64), and
2.7 more for the number of the unit it shows.

What it does not do: leave out points. The functions of ``fbn.plot`` have to see to it that a figure does not draw too
many.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

SHORT = 16  # arrays of at most so many numbers are more readable, and no longer, as lists
_INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4")  # the integer types that plotly.js reads, from narrow to wide


def embed(figure: Any, fallback: str) -> dict[str, Any]:
    """What the template needs to draw a figure.

    Args:
        figure: A plotly figure.
        fallback: The caption of a figure that has no title.

    Returns:
        ``caption``, ``json`` (``data`` and ``layout``), ``height`` and ``min_width`` in pixels.
    """
    spec = json.loads(str(figure.to_json()))
    layout = spec.setdefault("layout", {})
    title = layout.pop("title", None) or {}
    heading = title.get("text", "") if isinstance(title, dict) else str(title)
    height = int(layout.get("height", 450))
    if heading:
        margin = layout.setdefault("margin", {})
        spare = max(0, margin.get("t", 100) - 44)  # titles of panels keep their place
        margin["t"] = margin.get("t", 100) - spare
        layout["height"] = height = height - spare
    layout.pop("width", None)  # as wide as the page
    # plotly's titles hold HTML tags such as <br> and entities; a caption is plain text, which the template escapes
    return {
        "caption": html.unescape(re.sub(r"<[^>]*>", " ", heading)) or fallback,
        "json": Markup(safe_json({"data": small(spec.get("data", [])), "layout": layout})),
        "height": height,
        "min_width": int((layout.get("meta") or {}).get("min_width", 0)),
    }


def small(value: Any) -> Any:
    """The same numbers in fewer characters.

    Args:
        value: Any value of plotly's JSON; mappings and lists are gone through, arrays in base64 are narrowed, and
            floats are rounded to six significant digits.
    """
    if isinstance(value, Mapping):
        return (
            _narrow_array(value)
            if {"dtype", "bdata"} <= set(value)
            else {key: small(each) for key, each in value.items()}
        )
    if isinstance(value, list):
        return [small(each) for each in value]
    if isinstance(value, float) and math.isfinite(value):
        short = float(f"{value:.6g}")
        # 3 instead of 3.0; from 1e15 on a float is shorter, as in 1e+20
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    return value


def safe_json(value: Any) -> str:
    """JSON that cannot end, or be mistaken for, the HTML around it.

    Args:
        value: JSON-serialisable values.
    """
    text = json.dumps(value, separators=(",", ":"))  # ASCII only, so U+2028 and U+2029 are escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _narrow_array(packed: Mapping[str, Any]) -> Any:
    """One of plotly's base64 arrays in fewer bytes a number; as a list where it is short."""
    values = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"]).newbyteorder("<"))
    shape = [int(n) for n in str(packed.get("shape", values.size)).split(",")]
    if values.size <= SHORT and np.isfinite(values).all():
        return small(values.reshape(shape).tolist())
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # beyond 4 bytes, or infinite: then the error below is, too
            narrow = values.astype("<f4")
            name = "f4"
            error = np.abs(narrow.astype(float) - values)
        if error.max(initial=0.0, where=np.isfinite(values)) > _tolerable_error(values):
            narrow = values  # dates, counts beyond 2**24
            name = packed["dtype"]
    else:
        low = int(values.min()) if values.size else 0
        high = int(values.max()) if values.size else 0
        # the first type that holds both ends; 8-byte integers are too wide for all of them and stay as they are
        holds = (name for name in _INTEGERS if np.iinfo(name).min <= low and high <= np.iinfo(name).max)
        name = next(holds, str(packed["dtype"]))
        narrow = values.astype(np.dtype(name).newbyteorder("<"))
    return {**packed, "dtype": name, "bdata": base64.b64encode(narrow.tobytes()).decode()}


def _tolerable_error(values: np.ndarray) -> float:
    """A hundred-thousandth of the range: far below a pixel."""
    finite = values[np.isfinite(values)]
    return 1e-5 * float(np.ptp(finite)) if finite.size else 0.0
