"""Provenance: recordings, weights, prompts and seeds of every result, and the software of the page."""

from __future__ import annotations

import sys
from importlib import metadata

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.results import contrast, dose, study
from tests.helpers.units import TOY
from tl_fbn.analysis.networks.fingerprint import Fingerprint
from tl_fbn.reporting.page import provenance
from tl_fbn.units import Network, UnitMap


def line(result: object) -> dict[str, str]:
    return provenance.table([result]).iloc[0].to_dict()


def test_digests_are_cut_and_prompts_counted() -> None:
    found = line(contrast(recording="ab" * 32, weights="cd" * 32, prompts=["x", "y"], seed=4))
    assert found["recording"] == "ab" * 8 and found["weights"] == "cd" * 8
    assert (found["discovery prompts"], found["seed"], found["units"]) == ("2 digests of texts", "4", "mlp.neurons, 10")


def test_what_is_missing_is_said() -> None:
    found = line(Network.from_indices(TOY, [0], name="n"))
    assert (found["result"], found["recording"], found["discovery prompts"], found["seed"]) == (
        "Network n",
        "not recorded",
        "unknown",
        "none",
    )
    assert line(study())["discovery prompts"] == "1 disjoint, 1 discovery prompts unknown"
    assert line(dose())["discovery prompts"] == "disjoint"


def test_a_fingerprint_names_both_sides() -> None:
    sides = {"first": {"recording": "1" * 64}, "second": {"recording": "2" * 64}}
    found = line(Fingerprint((("a",), ("b",)), np.ones((1, 1)), np.ones(3), 3, sides))
    assert found["recording"] == f"{'1' * 16} and {'2' * 16}"


def test_mappings_are_taken_apart_and_what_has_no_origin_is_left_out() -> None:
    maps = {"a": UnitMap(TOY, np.zeros(10), "t"), "b": UnitMap(TOY, np.zeros(10), "z")}
    assert provenance.table([maps, pd.DataFrame({"x": [1]}), fbn.papers.s0.settings])["result"].tolist() == [
        "Map of t",
        "Map of z",
    ]


def test_versions_are_read_without_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    found = provenance.versions()
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("torch", "transformers", "plotly")}
    assert found["numpy"] == np.__version__ and set(found) == {"Python", *provenance.PACKAGES}

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    missing = provenance.versions()
    assert (missing["tl-fbn"], missing["torch"]) == ("unknown", "not installed")


def test_the_software_of_recordings_stands_beside(noise_recording: fbn.Recording) -> None:
    noise_recording.about["versions"] = {"torch": "1.2.3"}
    software = provenance.sections([noise_recording])[-1].table
    assert software is not None
    assert software.set_index("package")[f"recording {noise_recording.key[:8]}"]["torch"] == "1.2.3"


def test_the_number_type_of_the_model_is_a_column() -> None:
    assert line(contrast(model_dtype="bfloat16 (unpacked from Q4_1)"))["number type"] == "bfloat16 (unpacked from Q4_1)"
    assert line(contrast())["number type"] == "not recorded"
    sides = {"first": {"model_dtype": "bfloat16"}, "second": {"model_dtype": "float32"}}
    both = Fingerprint((("a",), ("b",)), np.ones((1, 1)), np.ones(3), 3, sides)
    assert line(both)["number type"] == "bfloat16 and float32"
