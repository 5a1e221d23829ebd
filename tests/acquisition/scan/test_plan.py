"""The plan: what a scan will write, before anything runs."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import CountedForwards, tiny_model
from tl_fbn.acquisition.recording import store


@pytest.mark.parametrize(
    ("options", "n_units", "item"),
    [
        ({}, 48, 4),
        ({"dtype": "float16"}, 48, 2),
        ({"layers": [1]}, 24, 4),
        ({"site": ["mlp.neurons", "resid.post", "attn.heads"]}, 48 + 32 + 4, 4),
    ],
)
def test_bytes_are_those_on_disk(options, n_units, item, tmp_path) -> None:
    model = tiny_model()
    counted = CountedForwards(model)
    scanner = fbn.Scanner(model, **options)
    plan = scanner.plan(small_design(), tmp_path / "not" / "yet" / "there")
    assert counted.n == 0
    assert (plan.n_runs, plan.n_rows, plan.n_units) == (2, 160, n_units)
    assert plan.n_bytes == 160 * n_units * item
    assert plan.free_bytes is not None and plan.free_bytes > 0
    assert not (tmp_path / "not").exists()
    scanner.scan(small_design(), tmp_path / "r", progress=False)
    for run in range(2):
        raw = (store.run_folder(tmp_path / "r", run) / store.DATA).read_bytes()
        assert len(raw) - 8 - int.from_bytes(raw[:8], "little") == plan.n_bytes // 2


def test_it_reads_as_one_line_and_says_when_the_disk_is_too_small() -> None:
    space = fbn.UnitSpace("mlp.neurons", (4, 4), model="toy")
    from tl_fbn.acquisition.scan.plan import Plan

    plan = Plan((space,), 2, 1000, 30, 32_000_000_000, 8_000_000_000, "float32")
    assert repr(plan) == (
        "Plan: 1,000 rows x 8 units of toy mlp.neurons (2 x 4) in 2 runs (30 prompts); 32,000.0 MB in float32, 8.0 GB free "
        "(NOT ENOUGH)"
    )
    assert "32,000,000,000" in plan._repr_html_()
    assert "free" not in repr(Plan((space,), 2, 10, 3, 320, None))
