"""Pages from Jinja templates: what the report and the viewer have in common.

Every value put into a template is escaped, unless it is of the type ``Markup``; a value that is missing is an error.
Every page has a random nonce, which its content security policy asks of every script: so the page runs the scripts it
was written with and no other.
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
    """Fill one of the templates of this folder.

    Args:
        template: Path of the template below ``tl_fbn/reporting``.
        filters: Names of further Jinja filters to their functions; None adds none.
        **values: The values that the template uses. ``nonce`` (a random word for the page's own scripts) and ``made``
            (date and time) are added.

    Returns:
        The page as one string of HTML.
    """
    environment = Environment(
        loader=PackageLoader("tl_fbn", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,  # Jinja's default would print nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return environment.get_template(template).render(nonce=secrets.token_urlsafe(12), made=made, **values)


def write(path: Path, page: str) -> None:
    """Write a page to one HTML file.

    Args:
        path: The file to write; a file that is there already is replaced.
        page: The page as one string.
    """
    # half of a surrogate pair, which text from JSON can hold, has no place in UTF-8; it is spelled out as an escape
    files.write_atomically(path, page.encode("utf-8", "backslashreplace"))
