"""A headless Chromium for pages: opens a file, remembers what went wrong, shoots pictures.

playwright drives whichever Chromium, Chrome or Edge the machine has; where there is none, tests that need one are
skipped. Nothing is
downloaded, and every request that is not for the file itself is refused and remembered.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


@dataclass
class Opened:
    """A page in a browser, with everything it complained about and everything it asked the network for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def pixels(self, selector: str) -> np.ndarray:
        """(height, width, 3) what one element looks like on the screen."""
        return picture(self.page.locator(selector).first.screenshot())


def picture(png: bytes) -> np.ndarray:
    """(height, width, 3) of a PNG."""
    image = importlib.import_module("PIL.Image")
    return np.asarray(image.open(BytesIO(png)).convert("RGB"))


@contextmanager
def opened(path: Path, *, width: int = 1200, height: int = 900, **options: Any) -> Iterator[Opened]:
    """Open a local page; ``options`` go to playwright's ``new_context`` (``has_touch``,
    ``java_script_enabled``, ...).
    """
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    try:
        sync_playwright = importlib.import_module("playwright.sync_api").sync_playwright
    except ImportError:
        pytest.skip("playwright is not installed")
    url = path.resolve().as_uri()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        seen = Opened(page)

        def refuse(route: Any) -> None:
            if route.request.url.split("#")[0] == url:
                route.continue_()
            else:
                seen.requests.append(route.request.url)
                route.abort()

        page.route("**/*", refuse)
        page.on("console", lambda said: said.type in ("error", "warning") and seen.complaints.append(said.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (seen.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        try:
            page.goto(url, wait_until="load")
            yield seen
        finally:
            browser.close()
