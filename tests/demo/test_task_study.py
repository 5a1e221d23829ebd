"""A study of tasks: held-out items, networks that break their own task, and nothing done twice."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.paths import SHARED
from tl_fbn.acquisition.design.stimuli import topics
from tl_fbn.demo import task_story, task_study


def test_networks_break_their_own_task_on_items_that_were_held_out(task_result):
    found, lines = task_result
    assert set(found.study.discovery.values()) == {"disjoint"}
    drops = found.study.drops("log_likelihood")
    upper, count = (found.study.tasks.index(name) for name in ("upper", "count"))
    # letters are made capitals, and things counted, by neurons of their own; copying is attention's
    for own in (upper, count):
        others = np.delete(drops[own], own)
        assert drops[own, own] > 1 and drops[own, own] > 5 * others.max()
        assert drops[own, own] > found.study.control_drops("log_likelihood")[own, :, own].max()
    assert [len(network) for network in found.atlas.values()] == [57] * 4
    assert [line.split()[0] for line in lines] == ["plan:", "1/3", "2/3", "3/3"]


def test_the_same_call_goes_on_and_finds_the_same(task_result, demo_model, monkeypatch):
    found, _ = task_result
    monkeypatch.setattr(type(found.subject.battery), "score", lambda *args, **options: pytest.fail("scored again"))
    monkeypatch.setattr(task_study, "plan", lambda *args: "plan")
    settings = {"share": 0.05, "n_controls": 4, "progress": False}
    again = task_study.run_study(found.subject, demo_model, found.folder, **settings)
    assert np.array_equal(again.study.lesioned_items, found.study.lesioned_items)
    assert again.recording.key == found.recording.key


def test_what_overlaps_with_activity_is_counted_beside_chance(task_result):
    table = task_study.overlap_with_activity(task_result[0])
    assert np.allclose(table["by_chance"], 57 * 57 / 1152)
    contrasts = task_result[0].fit.contrasts_against_others(level="token")
    for line in table.itertuples():
        most = set(contrasts[line.network].t.top(57).indices.tolist())
        assert line.shared == len(most & set(task_result[0].atlas[line.network].indices.tolist()))


def test_topics_are_found_on_other_passages_than_they_are_scored_on(demo_model):
    subject = task_study.subject_of_topics(demo_model, n_items=5, n_discovery=3)
    for name, passages in topics().items():
        scored = [item.alternatives[0] for item in subject.battery.tasks[name].items]
        assert list(subject.prompts[name]) == list(passages[:40]) and scored == list(passages[40:45])
        ids, positions = subject.items[name]
        assert [len(ids), len(positions)] == [3, 3]
        assert [one[-1] for one in positions] == [len(one) - 1 for one in ids]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="shared models are not beside the repository")
def test_the_same_steps_run_on_a_model_nobody_here_trained(tmp_path):
    model = fbn.load_model(SHARED / "models" / "stories260K", device="cpu", progress=False)
    subject = task_study.subject_of_topics(model, n_items=6, n_discovery=4)
    found = task_study.run_study(subject, model, tmp_path, share=0.02, n_controls=3, progress=False)
    table = found.study.to_dataframe()
    assert np.isfinite(table[["baseline", "lesioned", "drop", "p"]].to_numpy()).all()
    assert (table["baseline"] > -6).all() and (table["baseline"] < 0).all()
    task_story.report(found).save(tmp_path / "report.html")
    assert "topics have a network of their own in" in task_story.tables(found).replace("\n", " ")
