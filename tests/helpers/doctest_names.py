"""What the examples of docstrings take as given: the lines in the docstring of ``tl_fbn`` itself, run once.

A pytest plugin, loaded by ``python -m pytest --doctest-modules -p tests.helpers.doctest_names tl_fbn``. Every example
starts in an empty folder.
"""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def names_of_the_package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    import tl_fbn as fbn

    names: dict[str, Any] = {"fbn": fbn, "np": np, "pd": pd}
    found = doctest.DocTestParser().get_doctest(fbn.__doc__ or "", names, "tl_fbn", fbn.__file__, 0)
    assert found.examples, "the docstring of tl_fbn holds the lines that all examples go on from"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, clear_globs=False)
    assert result.failed == 0, "an example in the docstring of tl_fbn fails; see above"
    return {name: value for name, value in found.globs.items() if not name.startswith("__")}


@pytest.fixture(autouse=True)
def _names_of_examples(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(request.node, pytest.DoctestItem) and request.node.name != "tl_fbn":
        doctest_namespace.update(request.getfixturevalue("names_of_the_package"))
    monkeypatch.chdir(tmp_path)
