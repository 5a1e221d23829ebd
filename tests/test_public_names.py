"""What importing costs: the face of the package is free, an analysis needs no torch, and every public name is there."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tl_fbn as fbn
import tl_fbn.units

NO_MODEL = ("torch", "transformers", "transformer_lens")
HEAVY = (
    *NO_MODEL,
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "statsmodels",
    "jaxtyping",
    "safetensors",
    "plotly",
    "jinja2",
)

NAMESPACES = (
    *("acquisition", "analysis", "analysis.glm", "analysis.ica", "analysis.networks", "attribution", "intervention"),
    *("intervention.hooks", "intervention.behaviour", "intervention.studies", "intervention.pruning"),
    *("reporting", "reporting.plot", "papers"),
)


def python(code: str) -> str:
    """Run code in a fresh process, without the tests' type checker; its output."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str, of: tuple[str, ...]) -> set[str]:
    """Which of these packages a process has loaded after this code."""
    report = f"import sys\n{code}\nprint(*({{name.split('.')[0] for name in sys.modules}} & set({of!r})))"
    return set(python(report).split())


def test_the_face_of_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import tl_fbn; dir(tl_fbn); tl_fbn.__all__", HEAVY) == set()


def test_design_recording_and_analysis_need_no_model() -> None:
    code = """
import tl_fbn.units, tl_fbn.acquisition.recording.recording, tl_fbn.analysis.glm.fit, tl_fbn.acquisition.recording.store, tl_fbn.acquisition.design.block_design
import tl_fbn as fbn
fbn.block_design({"a": fbn.prompts("sort"), "b": fbn.prompts("topic/rest")}, n_runs=2, n_cycles=2, seed=0)
fbn.chats("add"), fbn.Recording, fbn.fit_glm, fbn.Atlas, fbn.Report, fbn.conjunction
"""
    assert loaded_by(code, NO_MODEL) == set()


def test_every_public_name_is_there() -> None:
    assert len(set(fbn.__all__)) == len(fbn.__all__)
    assert dir(fbn) == sorted(fbn.__all__)
    for name in fbn.__all__:
        if name == "plot" and importlib.util.find_spec("plotly") is None:
            continue
        assert getattr(fbn, name) is not None


@pytest.mark.parametrize("name", NAMESPACES)
def test_every_name_of_a_namespace_is_there_and_no_module_hides_it(name: str) -> None:
    folder = importlib.import_module(f"tl_fbn.{name}")
    stub = ast.parse(Path(str(folder.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(homes) == set(folder.__all__) and len(set(folder.__all__)) == len(folder.__all__)
    modules = {module.name for module in pkgutil.iter_modules(folder.__path__)}
    for public, home in homes.items():
        # lazy_loader lets a function win over the module it stands in, and over no other
        assert public not in modules or home in (public, None), f"{public} is hidden by {name}/{public}.py"
        if name != "reporting.plot" or importlib.util.find_spec("plotly"):
            assert getattr(folder, public) is not None
    for module in modules:
        importlib.import_module(f"tl_fbn.{name}.{module}")
    assert all(not inspect.ismodule(getattr(folder, public)) for public, home in homes.items() if home is not None)


def test_flat_names_are_those_of_their_namespaces() -> None:
    for space in (fbn.glm, fbn.ica, fbn.networks, fbn.attribution, fbn.hooks, fbn.behaviour, fbn.studies, fbn.pruning):
        for name in set(space.__all__) & set(fbn.__all__):
            assert getattr(space, name) is getattr(fbn, name)
    modules = [name for name in fbn.__all__ if inspect.ismodule(getattr(fbn, name))]
    assert len(fbn.__all__) - len(modules) <= 60


def test_the_version_is_that_of_the_installed_package() -> None:
    assert fbn.__version__ == importlib.metadata.version("tl-fbn")


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'tl_fbn' has no attribute 'fit_gml'; public names: Atlas, .*fit_glm, .*inhibit"
    ):
        _ = fbn.fit_gml
    assert not hasattr(fbn, "__wrapped__")


def test_star_import_gives_the_public_names() -> None:
    if importlib.util.find_spec("plotly") is None:
        pytest.skip("the star imports the pictures too")
    names: dict[str, object] = {}
    exec("from tl_fbn import *", names)
    assert set(names) - {"__builtins__"} == set(fbn.__all__)
    assert names["UnitSpace"] is tl_fbn.units.UnitSpace
    assert names["demo"] is tl_fbn.demo


def test_examples_in_docstrings_are_true(tmp_path: Path) -> None:
    """They go on from the lines in the docstring of the package, as in ``python -m pytest --doctest-modules``."""
    modules = (
        "units.space",
        "units.unit_map",
        "units.network",
        "units.atlas",
        "acquisition.design.block_design",
        "acquisition.design.stimuli",
        "acquisition.design.stimuli.formal",
    )
    code = (
        "import doctest, importlib, os\n"
        "import numpy as np, pandas as pd, tl_fbn as fbn\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "names = {'fbn': fbn, 'np': np, 'pd': pd}\n"
        "shared = doctest.DocTestParser().get_doctest(fbn.__doc__, names, 'tl_fbn', None, 0)\n"
        "doctest.DocTestRunner().run(shared, clear_globs=False)\n"
        f"found = [importlib.import_module('tl_fbn.' + name) for name in {modules!r}]\n"
        "found = [doctest.testmod(module, extraglobs=shared.globs) for module in found]\n"
        "print(sum(r.attempted for r in found), sum(r.failed for r in found))"
    )
    attempted, failed = python(code).splitlines()[-1].split()
    assert int(attempted) >= 12
    assert int(failed) == 0


def public_things() -> dict[str, object]:
    """Every public function and class, by the name a user writes."""
    found: dict[str, object] = {}
    for name in fbn.__all__:
        thing = getattr(fbn, name)
        for inner in getattr(thing, "__all__", ()) if inspect.ismodule(thing) else ():
            found[f"{name}.{inner}"] = getattr(thing, inner)
        found[name] = thing
    return {name: thing for name, thing in found.items() if inspect.isclass(thing) or inspect.isfunction(thing)}


NEEDS_LM_EVAL = {"behaviour.evaluate_harness"}  # an optional package; its example is a block that nobody runs


@pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="pictures are public too")
@pytest.mark.parametrize(("name", "thing"), public_things().items())
def test_a_public_name_has_an_example_that_runs_and_says_what_every_argument_is(name: str, thing: object) -> None:
    text = inspect.getdoc(thing) or ""
    examples = doctest.DocTestParser().get_examples(text)
    assert name in NEEDS_LM_EVAL or any(doctest.SKIP not in example.options for example in examples)
    if inspect.isfunction(thing) or dataclasses.is_dataclass(thing) or "__init__" in vars(thing):
        said = re.findall(r"^ +((?:\*{0,2}\w+, )*\*{0,2}\w+):", text, re.M)
        said = {one.strip("* ") for names in said for one in names.split(",")}
        arguments = {one for one in inspect.signature(thing).parameters if not one.startswith("_")}  # pyright: ignore
        assert arguments - said == set()
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if not method.startswith("_") and (callable(plain) or isinstance(plain, property)):
                assert inspect.getdoc(plain), f"{method} has no docstring"
