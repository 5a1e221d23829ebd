"""Tables of the ICA protocol: what is beside what, from a quick run."""

from __future__ import annotations

import numpy as np


def test_tables_say_what_was_masked_beside_what(s0_study):
    study, _ = s0_study
    masked, kept = study.table("masked"), study.table("kept")
    assert {"union", "without five", "five", "layer-matched", "uniform"} <= set(masked["mask"])
    assert set(kept["mask"]) <= {"union", "layer-matched", "variance-matched"}
    for table in (masked, kept):
        random = table["mask"].isin(["layer-matched", "variance-matched", "uniform"])
        assert table.loc[random, "p"].between(0, 1).all() and table.loc[~random, "p"].isna().all()
        assert (table["share"] <= 1).all() and (table["units"] > 0).all()
    assert set(study.table("kept curve")["masks"]) >= {"networks", "layer-matched"}
    single = study.table("single")
    assert len(single) == 3 and (single["random max"] >= single["random median"]).all()


def test_connectivity_is_symmetric_with_ones(s0_study):
    square = s0_study[0].table("connectivity").iloc[:, 1:].to_numpy()
    assert np.allclose(square, square.T) and np.allclose(np.diag(square), 1)
