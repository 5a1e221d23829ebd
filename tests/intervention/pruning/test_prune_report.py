"""What pruning took out, in numbers that come back from disk."""

from __future__ import annotations

import dataclasses

import pytest

import tl_fbn as fbn
from tests.helpers.pruning import half
from tests.helpers.units import TOY
from tl_fbn.acquisition.model.weights import weights_digest
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.intervention.pruning.prune_report import PruneReport


def test_report(model, tmp_path):
    network = half(model)
    report = prune(model, keep=network).pruned
    assert "half" in report.kept.name and report.kept == network
    assert "neurons left" in repr(report) and "<table" in report._repr_html_()
    assert list(report.to_dataframe()["removed"]) == (24 - network.per_layer()).tolist()
    assert report.difference < 1e-4
    report.save(tmp_path / "report.safetensors")
    back = PruneReport.load(tmp_path / "report.safetensors")
    assert (back.kept, back.n_after, back.ratio) == (report.kept, report.n_after, report.ratio)
    assert back.provenance["weights"] == weights_digest(model)


def made(**changed) -> PruneReport:
    heads = fbn.Network.from_indices(fbn.UnitSpace("attn.heads", (2, 2, 2)), [0, 1, 4], name="heads kept")
    kept = fbn.Network.from_indices(TOY, [0, 5, 9], name="best")
    return dataclasses.replace(PruneReport(kept, heads, 1000, 800, 2e-6, "prompts", 2, {"protected": [0]}), **changed)


def test_numbers_of_a_report_by_hand() -> None:
    report = made()
    assert report.ratio == pytest.approx(0.2)
    table = report.to_dataframe()
    assert table["neurons"].tolist() == [4, 0, 6] and table["kept"].tolist() == [1, 0, 2]
    assert table["removed"].tolist() == [3, 0, 4]
    assert table["heads"].tolist() == [2, 2, 2] and table["heads_kept"].tolist() == [2, 0, 1]
    assert repr(report) == (
        "Pruned toy: 3 of 10 neurons, 3 of 6 heads left, 1,000 to 800 parameters (-20.0%), "
        "means of the rest from prompts"
    )
    bare = made(heads=None, compensation="none")
    assert "heads" not in bare.to_dataframe() and repr(bare).endswith("(-20.0%)")


@pytest.mark.parametrize("heads", [True, False])
def test_a_report_comes_back_from_its_file_with_its_heads(heads: bool, tmp_path) -> None:
    report = made() if heads else made(heads=None, heads_stored=None)
    report.save(tmp_path / "report.safetensors")
    back = PruneReport.load(tmp_path / "report.safetensors")
    assert back.kept == report.kept and back.kept.name == "best"
    assert back.heads == report.heads and back.heads_stored == report.heads_stored
    assert (back.n_before, back.n_after, back.difference, back.compensation) == (1000, 800, 2e-6, "prompts")
    assert back.to_dataframe().equals(report.to_dataframe()) and repr(back) == repr(report)
