"""Controls that stop: p is valid, resumes where it was, and says nothing of what the rule did not look at."""

from __future__ import annotations

import joblib
import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import own_words, tiny_model
from tl_fbn.intervention.studies.stopping import StoppingRule, lesioned_controls, stopped_p
from tl_fbn.intervention.studies.workers import Packed


def scored(bundle, number):
    """One item of one task under a lesion; the bundle has the scores, and counts the lesions."""
    scores, made = bundle
    made.append(number)
    return np.full((1, 2), scores[number]), {}


def run(scores, stop, known=(), n_controls=None):
    """Scores of a network and its controls as the rule leaves them, and which lesions were made."""
    rule = StoppingRule(stop, 1, {"t": slice(0, 1)})
    made = []
    order = rule.order("t", n_chosen=1, n_controls=n_controls or len(scores) - 1)
    found = [row[0, 1] for row, _ in order(scored, (scores, made), known, len(scores), Packed(None))]
    return np.array(found), made


def p_of(scores, stop):
    found, made = run(scores, stop)
    kept = found[1:][~np.isnan(found[1:])]
    assert made == list(range(1 + len(kept)))
    return stopped_p(-found[:1], -kept[:, None], 0, stop, len(scores) - 1)[0], len(kept)


@pytest.mark.parametrize("stop", [1, 5, 10])
def test_p_is_never_smaller_than_it_should_be(stop):
    rng = np.random.default_rng(0)
    found = np.array([p_of(rng.normal(size=100), stop) for _ in range(500)])
    for level in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / len(found))
        assert (found[:, 0] <= level).mean() <= level + 3 * error
    if stop == 10:  # of a network that does nothing: the mean of min(n, n of the tenth) over uniform p
        assert found[:, 1].mean() < 0.4 * 99 and np.median(found[:, 1]) <= 25
        # and it is not just valid: near its level where there are enough controls
        assert (found[:, 0] <= 0.2).mean() > 0.15


def test_ties_count_against_the_network():
    p, n = p_of(np.zeros(50), 10)
    assert (p, n) == (1.0, 10)


def test_all_controls_are_lesioned_where_none_does_as_much():
    p, n = p_of(np.r_[-5.0, np.zeros(40)], 3)
    assert (p, n) == (1 / 41, 40)


def test_the_last_control_may_be_the_one_that_stops():
    scores = np.r_[0.0, 1.0, -1.0, 1.0, -1.0]
    assert p_of(scores, 2) == (2 / 4, 4)
    assert p_of(scores, 3) == (3 / 5, 4)


@pytest.mark.parametrize("n_known", [0, 1, 2, 3, 5, 6, 8, 11])
def test_an_interrupted_rule_goes_on_where_it_was(n_known):
    scores = np.r_[0.0, 1, -1, -1, 1, 1, *[-1.0] * 2, 1, 1, 1]  # two kinds of five controls each
    whole, made = run(scores, 2, n_controls=5)
    assert np.isnan(whole).tolist() == [False] * 4 + [True] * 2 + [False] * 2 + [True] * 3
    known = [np.full((1, 2), value) for value in whole[:n_known]]
    rest, again = run(scores, 2, known, n_controls=5)
    np.testing.assert_array_equal(rest, whole[n_known:])
    assert again == [number for number in made if number >= n_known]


def test_p_of_other_tasks_is_left_out_where_controls_stopped():
    drops, controls = np.array([0.0, 9.0]), np.zeros((10, 2))
    assert np.array_equal(stopped_p(drops, controls, 0, 10, 99), [1.0, np.nan], equal_nan=True)
    assert np.isnan(stopped_p(drops, controls, None, 10, 99)).all()
    assert stopped_p(drops, controls, None, None, 10).tolist() == [1.0, 1 / 11]


@pytest.fixture(scope="module")
def subject():
    """A model, a battery of what it says anyway, a network that it needs, and one that does nothing."""
    model = tiny_model()
    model.W_E.data *= 3
    space = fbn.Scanner(model).space
    battery = fbn.Battery.from_pairs({"needed": own_words(model, n=8), "idle": own_words(model, n=8, seed=1)})
    networks = {
        "needed": fbn.Network.from_indices(space, list(range(0, 40, 2))),
        "idle": fbn.Network.from_indices(space, [41]),
    }
    return model, battery, networks


OPTIONS = {"n_controls": 30, "seed": 0, "metric": "log_likelihood", "progress": False, "n_bootstrap": 50}


def test_a_study_with_controls_that_stop(subject, tmp_path):
    model, battery, networks = subject
    whole = fbn.lesion_study(model, networks, battery, **OPTIONS)
    study = fbn.lesion_study(model, networks, battery, stop=5, path=tmp_path / "s", **OPTIONS)
    kept = lesioned_controls(study.control_scores["random"])
    for i, name in enumerate(networks):
        n = kept[i].sum()
        assert kept[i, :n].all()
        # the same controls in the same order, as far as they go
        np.testing.assert_array_equal(study.controls[i, :n], whole.controls[i, :n])
        j = study.tasks.index(name)
        h = int((whole.control_drops()[i, :n, j] >= whole.drops()[i, j] - 1e-12).sum())
        expected = h / n if h == 5 else (1 + h) / 31
        table = study.summary().set_index("network")
        assert table.loc[name, "p"] == pytest.approx(expected) and table.loc[name, "controls"] == n
        assert (h == 5) == (n < 30 or h == 5)
    assert kept.sum() < kept.size
    stopped = [name for i, name in enumerate(networks) if not kept[i].all()]
    cells = study.to_dataframe()
    others = cells[(cells["network"] != cells["task"]) & cells["network"].isin(stopped)]
    assert others["p"].isna().all() and not cells[["drop", "control_median", "control_p95"]].isna().any().any()
    # under the other metric the rule looked at nothing
    assert study.summary(metric="exact_match").set_index("network").loc[stopped, "p"].isna().all()
    assert "stop after 5" in study._methods_()[0] and "up to 30 random controls" in repr(study)
    study.dissociations(), study.equivalence(), study.verdict(), str(study)
    study.save(tmp_path / "study.safetensors")
    again = fbn.studies.LesionStudy.load(tmp_path / "study.safetensors")
    assert again.to_dataframe().equals(cells)
    fbn.plot.lesion_controls(again), fbn.plot.lesion_matrix(again), fbn.plot.dissociation(again)
    # the folder goes on with the same rule only
    assert (
        fbn.lesion_study(model, networks, battery, stop=5, path=tmp_path / "s", **OPTIONS)
        .summary()
        .equals(study.summary())
    )
    with pytest.raises(fbn.errors.InputError, match="stop"):
        fbn.lesion_study(model, networks, battery, path=tmp_path / "s", **OPTIONS)


@pytest.mark.slow
def test_workers_stop_at_the_same_control(subject):
    model, battery, networks = subject
    here = fbn.lesion_study(model, networks, battery, stop=5, **OPTIONS)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        there = fbn.lesion_study(model, networks, battery, stop=5, **OPTIONS)
    np.testing.assert_allclose(there.controls, here.controls, atol=1e-5)


def test_a_plan_says_at_most(subject):
    model, battery, networks = subject
    plan = fbn.plan_lesions(model, networks, battery, n_controls=30, stop=5)
    assert plan.lesions == 62 and "at most 62 lesions" in repr(plan)


@pytest.mark.parametrize("stop", [0, -1])
def test_a_number_that_stops_before_the_first_is_refused(subject, stop):
    model, battery, networks = subject
    with pytest.raises(fbn.errors.InputError, match=f"stop={stop} would stop before the first control"):
        fbn.lesion_study(model, networks, battery, stop=stop, **OPTIONS)


def test_networks_without_a_task_are_refused(subject):
    model, battery, networks = subject
    with pytest.raises(fbn.errors.InputError, match="N01 is named like no task; tasks: needed, idle"):
        fbn.lesion_study(model, {"N01": networks["idle"]}, battery, stop=5, **OPTIONS)
