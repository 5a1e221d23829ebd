"""The folder of a protocol: steps are made once, and another run is refused."""

from __future__ import annotations

import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.papers.paper_folder import PaperFolder


def test_a_step_is_made_once(model, tmp_path):
    said: list[str] = []
    folder = PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 0}, said.append)
    space = fbn.Scanner(model).space
    calls = []

    def make() -> fbn.Network:
        calls.append(1)
        return fbn.Network.from_indices(space, [3, 500])

    first = folder.step("network", fbn.Network, make)
    again = PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 0}, said.append)
    assert again.step("network", fbn.Network, make) == first and len(calls) == 1
    assert said[0] == "network ..." and len(said) == 2
    table = pd.DataFrame({"task": ["a", "b"], "x": [0.1, float("nan")]})
    pd.testing.assert_frame_equal(folder.table("numbers", lambda: table), table)
    pd.testing.assert_frame_equal(again.table("numbers", lambda: table * 2), table)


def test_another_run_is_refused(model, tmp_path):
    PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 0})
    with pytest.raises(fbn.InputError, match="seed"):
        PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 1})
    (tmp_path / "file").write_text("")
    with pytest.raises(fbn.InputError, match="is a file"):
        PaperFolder(tmp_path / "file", model, "mlp.neurons", {"seed": 0})


def test_what_a_changed_model_did_is_not_kept(tmp_path):
    model = fbn.demo.load_model()
    folder = PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 0})

    def make() -> fbn.Network:
        next(model.parameters()).data.mul_(1.5)
        return fbn.Network.from_indices(fbn.Scanner(model).space, [1])

    with pytest.raises(fbn.InputError, match="the model changed"):
        folder.step("network", fbn.Network, make)
    assert not folder.inside("steps").exists()
