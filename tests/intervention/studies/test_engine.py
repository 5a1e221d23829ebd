"""The runs of every study: one array, kept as it comes, the same on workers, and the numbers of before there was one."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from joblib.parallel import parallel_config

import tl_fbn as fbn
from tl_fbn.intervention.studies.engine import Condition, StudyRuns
from tl_fbn.intervention.studies.item_statistics import by_item
from tl_fbn.intervention.studies.resume import Unfinished

BEFORE = Path(__file__).parents[2] / "data" / "numbers_of_studies.json"
QUIET: dict[str, Any] = {"seed": 0, "progress": False}


@pytest.fixture(scope="module")
def battery() -> fbn.Battery:
    return fbn.demo.battery(n=6).select(["sort", "reverse", "add"])


@pytest.fixture(scope="module")
def space(demo_model) -> fbn.UnitSpace:
    return fbn.Scanner(demo_model).space


@pytest.fixture(scope="module")
def networks(space) -> dict[str, fbn.Network]:
    return {
        "sort": fbn.Network.from_indices(space, range(0, 1152, 20), name="sort"),
        "reverse": fbn.Network.from_indices(space, range(7, 1152, 30), name="reverse"),
    }


@pytest.fixture(scope="module")
def maps(space) -> dict[str, fbn.UnitMap]:
    rng = np.random.default_rng(0)
    return {name: fbn.UnitMap(space, rng.permutation(1152) / 1152.0, "effect") for name in ("a", "b")}


def runs_of(model, folder: Unfinished | None = None) -> StudyRuns:
    return StudyRuns(model, n_conditions=3, title="test", progress=False, folder=folder)


def test_scores_are_those_of_the_battery_under_each_condition(demo_model, battery, networks) -> None:
    silence = partial(fbn.inhibit, demo_model)
    conditions = [Condition("nothing"), *Condition.each(silence, networks.values())]
    with runs_of(demo_model) as runs:
        scores, notes = runs.scores("part", battery, conditions)
    assert scores.shape == (3, 18, 2) and notes == {}
    assert np.array_equal(scores[0], by_item(battery.score(demo_model)))
    for row, network in zip(scores[1:], networks.values(), strict=True):
        with silence(network):
            assert np.array_equal(row, by_item(battery.score(demo_model)))


def test_known_scores_stand_where_nothing_is_changed(demo_model, battery, networks) -> None:
    known = np.full((18, 2), 7.0)
    conditions = [Condition("nothing", note=lambda battery, scores: {"scored": len(scores)})]
    conditions += Condition.each(partial(fbn.inhibit, demo_model), [networks["sort"]])
    with runs_of(demo_model) as runs:
        scores, notes = runs.scores("part", battery, conditions, untouched=known)
    assert (scores[0] == 7).all() and not (scores[1] == 7).any() and notes == {"scored": 0}


def test_an_error_says_under_which_condition_it_came(demo_model, battery) -> None:
    def fails() -> Any:
        raise fbn.InputError("no such network")

    with runs_of(demo_model) as runs, pytest.raises(fbn.InputError, match="no such network") as caught:
        runs.scores("part", battery, [Condition("the first"), Condition("the second", fails)])
    assert caught.value.__notes__ == ["(while scoring under 'the second', condition 1 of 2)"]


def test_a_part_is_kept_as_it_comes_and_goes_on(demo_model, battery, networks, tmp_path: Path) -> None:
    made: list[str] = []

    def silence(network: fbn.Network) -> Any:
        made.append(network.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return fbn.inhibit(demo_model, network)

    conditions = [Condition("nothing"), *Condition.each(silence, networks.values())]
    with runs_of(demo_model, Unfinished(tmp_path / "s", {"a": 1})) as runs, pytest.raises(KeyboardInterrupt):
        runs.scores("part", battery, conditions)
    for _ in range(2):  # goes on, then reads
        with runs_of(demo_model, Unfinished(tmp_path / "s", {"a": 1})) as runs:
            scores, _ = runs.scores("part", battery, conditions)
    assert made == ["sort", "reverse", "reverse"]
    with runs_of(demo_model) as runs:
        assert np.array_equal(scores, runs.scores("part", battery, conditions)[0])


def studies(model, battery, networks, maps, folder: Path | None = None) -> dict[str, pd.DataFrame | list]:
    """Tables of all studies; the networks do nothing in particular."""

    def kept(name: str) -> dict[str, Any]:
        return QUIET | ({} if folder is None else {"path": folder / name})

    rivals = {"low": {"sort": fbn.studies.lowest_ranked(maps["a"], networks["sort"])}}
    lesions = fbn.lesion_study(
        model,
        networks,
        battery,
        n_controls=4,
        controls=("random", "rotated"),
        metric="log_likelihood",
        rivals=rivals,
        **kept("lesion"),
    )
    stopped = fbn.lesion_study(
        model, networks, battery, n_controls=6, stop=2, metric="log_likelihood", **kept("stopped")
    )
    doses = fbn.dose_response(
        model, networks["sort"], battery, gains=(0, 1, 3), n_controls=3, metric="log_likelihood", **kept("dose")
    )
    sizes = fbn.dose_response(model, maps["a"], battery, sizes=(0.01, 0.1), n_controls=3, **kept("sizes"))
    calibrated = fbn.calibrate_gain(
        model,
        networks["sort"],
        battery,
        gains=(0.5, 1.5),
        n_controls=4,
        controls="both",
        tolerance=5.0,
        **kept("calibration"),
    )
    validated = fbn.validate_scores(
        model,
        maps,
        battery,
        "sort",
        n_units=10,
        n_groups=4,
        n_controls=4,
        n_null=50,
        top=0.1,
        group=0.1,
        **kept("validation"),
    )
    atlas = fbn.Atlas.from_networks(networks)
    retained = fbn.studies.retention_curve(model, atlas, battery, mode="inhibit", n_controls=3, **kept("retention"))
    ablated = fbn.studies.token_ablation(
        model,
        {task: fbn.chats(task, n=6) for task in ("sort", "reverse")},
        battery,
        tokens=("special", "random"),
        variants=("row_sum",),
        n_controls=3,
        metric="log_likelihood",
        **kept("ablation"),
    )
    return {
        "lesion": lesions.to_dataframe(),
        "lesion summary": lesions.summary(),
        "stop": stopped.summary(),
        "dose": doses.to_dataframe(),
        "dose summary": doses.summary(),
        "sizes": sizes.to_dataframe(),
        "calibration": calibrated.to_dataframe(),
        "calibration summary": calibrated.summary(),
        "amounts": calibrated.control_amounts.tolist(),
        "validation": validated.to_dataframe(),
        "retention": retained.table,
        "ablation": ablated.table,
    }


def test_numbers_are_those_of_before_there_was_an_engine(
    demo_model, battery, networks, maps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was written by the seven studies as they were when each ran its own loop."""
    before = json.loads(BEFORE.read_text())
    found = studies(demo_model, battery, networks, maps, tmp_path)
    assert list(found) == list(before)
    for name, table in found.items():
        if isinstance(table, list):
            assert table == before[name]
        else:
            then = pd.DataFrame(before[name]["data"], columns=before[name]["columns"])
            now = pd.DataFrame(json.loads(table.to_json(orient="split"))["data"], columns=table.columns)
            now = now[list(then)]  # columns that came since have no number of before
            pd.testing.assert_frame_equal(now, then, check_dtype=False, atol=1e-4, rtol=0, obj=name)
    # all is in the folders: a second call scores nothing
    monkeypatch.setattr(fbn.Battery, "score", None)
    again = studies(demo_model, battery, networks, maps, tmp_path)
    for name, table in found.items():
        assert table == again[name] if isinstance(table, list) else table.equals(again[name]), name


def _dies() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_workers_give_the_same_scores_and_one_that_dies_loses_nothing(
    demo_model, battery, networks, tmp_path: Path
) -> None:
    conditions = [Condition("nothing"), *Condition.each(partial(fbn.inhibit, demo_model), networks.values())]
    battery.score(demo_model)  # transformers puts hooks of its own on a model that has run
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as loky's workers have it: another number rounds otherwise
    try:
        with runs_of(demo_model) as runs:
            here = runs.scores("part", battery, conditions)[0]
        with parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
            with runs_of(demo_model) as runs:
                for part in ("first", "second"):  # the model is sent once for both
                    assert np.array_equal(runs.scores(part, battery, conditions)[0], here)
            fatal = [*conditions, Condition("a worker that dies", _dies)]
            folder = Unfinished(tmp_path / "s", {"a": 1})
            with (
                runs_of(demo_model, folder) as runs,
                pytest.raises(fbn.InputError, match=r"worker processes ended before its result came.*fewer workers"),
            ):
                runs.scores("part", battery, fatal)
    finally:
        torch.set_num_threads(threads)
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    with runs_of(demo_model, Unfinished(tmp_path / "s", {"a": 1})) as runs:
        assert np.array_equal(runs.scores("part", battery, conditions)[0], here)
