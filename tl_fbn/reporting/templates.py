"""Pages from templates: what the report and the viewer have in common.

Everything put into a template is escaped unless it says it is markup; a name that is missing is an error. Every page has a nonce of its own, so that only
the scripts it was written with run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tl_fbn import files


def render(template: str, filters: dict[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """A page of this room, with ``nonce`` and ``made`` (when) beside the values given."""
    environment = Environment(
        loader=PackageLoader("tl_fbn", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return environment.get_template(template).render(nonce=secrets.token_urlsafe(12), made=made, **values)


def write(path: Path, page: str) -> None:
    """One HTML file; half of a surrogate pair, as JSON can hold, has no place in UTF-8 and is spelled out."""
    files.write_atomically(path, page.encode("utf-8", "backslashreplace"))
