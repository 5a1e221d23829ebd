"""Every public function and method with arguments that it takes: what tests of bad arguments start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.materials import Subject, materials
from tests.helpers.subjects_of_data import of_data
from tests.helpers.subjects_of_models import of_models
from tests.helpers.subjects_of_pages import of_pages
from tests.helpers.subjects_of_plans import of_plans


def subjects(folder: Path, demo: Any) -> dict[str, Subject]:
    """Name to subject.

    Args:
        folder: An empty folder, in which files are put for functions that read some.
        demo: The embedded model.
    """
    m = materials(folder, demo)
    return of_data(m) | of_models(m) | of_pages(m) | of_plans(m)
