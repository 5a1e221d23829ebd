"""The site: the manual, and the API reference made from docstrings. Built by ``.ci/reference``.

Pages of the reference are written here, one a namespace, from what the stubs list: a public name has its entry on the
page of ``tl_fbn`` if it
is flat, and otherwise on the page of its folder.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from sphinx.ext.napoleon import GoogleDocstring

import tl_fbn as fbn

project = "tl_fbn"
author = "The tl_fbn authors"
release = importlib.metadata.version("tl-fbn")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
html_theme = "furo"
html_title = f"tl_fbn {release}"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 2
suppress_warnings = ["myst.xref_missing"]  # links that leave the site: notebooks, the repository's own files


# ---- the manual, from examples/ and .github/


def gather(into: Path) -> None:
    """Copy the pages of the repository to where Sphinx reads them."""
    into.mkdir()
    for page in [
        *(ROOT / "examples").glob("*.md"),
        ROOT / ".github" / "GLOSSARY.md",
        ROOT / ".github" / "ARCHITECTURE.md",
    ]:
        if page.name != "README.md":  # the site has an index of its own
            shutil.copy(page, into / page.name.lower())


# ---- the reference, from the stubs


def namespaces() -> dict[str, ModuleType]:
    """The namespaces of ``fbn``, and their modules."""
    found = {name: getattr(fbn, name) for name in fbn.__all__}
    return {name: thing for name, thing in found.items() if inspect.ismodule(thing)}


def write_reference(into: Path) -> None:
    """One page for the flat names and one a namespace."""
    into.mkdir()
    flat = {name: getattr(fbn, name) for name in fbn.__all__ if not inspect.ismodule(getattr(fbn, name))}
    (into / "tl_fbn.rst").write_text(page_of("tl_fbn", fbn, flat), encoding="utf-8")
    for name, module in namespaces().items():
        sys.modules[f"tl_fbn.{name}"] = module  # so that tl_fbn.glm.lape is found by its public name
        names = getattr(module, "__all__", None) or [
            one
            for one, thing in vars(module).items()
            if getattr(thing, "__module__", "") == module.__name__ and one[0] != "_"
        ]
        own = {one: getattr(module, one) for one in names}
        own = {one: thing for one, thing in own.items() if not inspect.ismodule(thing) and flat.get(one) is not thing}
        (into / f"{name}.rst").write_text(page_of(f"tl_fbn.{name}", module, own), encoding="utf-8")


def page_of(title: str, module: ModuleType, names: dict[str, object]) -> str:
    """A page in reStructuredText: the module's essay, then an entry for every name."""
    head = title.replace("tl_fbn", "fbn", 1)
    lines = [head, "=" * len(head), "", f".. automodule:: {title}", "   :no-members:", ""]
    for name, thing in sorted(names.items(), key=lambda one: (inspect.isclass(one[1]), one[0].lower())):
        if inspect.isclass(thing):
            lines += [f".. autoclass:: {title}.{name}", "   :members:", ""]
        elif callable(thing):
            lines += [f".. autofunction:: {title}.{name}", ""]
        else:
            lines += [f".. autodata:: {title}.{name}", ""]
    return "\n".join(lines)


def setup(app: Any) -> None:
    """Write the pages into the folder that is built, which is a scratch folder of ``.ci/reference``."""
    source = Path(app.srcdir)
    shutil.copy(HERE / "index.md", source)
    gather(source / "manual")
    write_reference(source / "reference")
    # "Returns" of ours are sentences: what stands before a colon in them is no type
    GoogleDocstring._consume_returns_section = lambda self, preprocess_types=False: [
        ("", "", self._dedent(self._consume_to_next_section()))
    ]
