"""What is said of a study of tasks: the answer first, and no more than was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tl_fbn.demo import task_story


def test_the_answer_comes_first_and_names_who_has_a_network(task_result):
    found, _ = task_result
    first, *others = task_story.answer(found)
    own = {one.task for one in task_story.verdicts(found) if one.own_network}
    assert {"upper", "count"} <= own and "copy" not in own
    assert first.startswith(f"{len(own)} of 4 tasks have a network of their own in tl_fbn-demo: ")
    assert any(line.startswith("copy: silencing its network does next to nothing") for line in others)
    assert others[-1].startswith("Not shown: ")
    assert task_story.tables(found).replace("\n", " ").startswith(first)
    assert max(map(len, task_story.tables(found).splitlines()[:8])) <= 80


def test_a_verdict_holds_against_the_worst_other_task_and_every_control(task_result):
    found, _ = task_result
    study = found.study
    (upper,) = [one for one in task_story.verdicts(found) if one.task == "upper"]
    place = study.tasks.index("upper")
    drops = study.drops("log_likelihood")[place]
    assert upper.own == drops[place] and upper.other == np.delete(drops, place).max()
    assert upper.control == study.control_drops("log_likelihood")[place, :, place].max()
    assert upper.exact == (study.baseline[place, 0], study.lesioned[place, place, 0])


def test_a_network_that_breaks_everything_is_nobodys_own(task_result):
    found, _ = task_result
    items = found.study.lesioned_items.copy()
    items[:, :, 1] = found.study.baseline_items[None, :, 1] - 5  # every lesion costs every item five nats
    broken = replace(found, study=replace(found.study, lesioned_items=items))
    assert not any(one.own_network for one in task_story.verdicts(broken))
    first, *others = task_story.answer(broken)
    assert first == "0 of 4 tasks have a network of their own in tl_fbn-demo."
    assert sum("not its own. It loses" in line for line in others) == 4


def test_controls_that_cost_as_much_leave_no_network(task_result):
    found, _ = task_result
    scores = {"random": np.repeat(found.study.lesioned[:, None], 4, axis=1)}
    equal = replace(found, study=replace(found.study, control_scores=scores))
    assert not any(one.beyond_chance for one in task_story.verdicts(equal))
    assert any("costs no more than random networks do" in line for line in task_story.answer(equal))


def test_the_page_begins_with_the_answer(task_result, tmp_path):
    found, _ = task_result
    report = task_story.report(found)
    report.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    places = [text.index(part) for part in ("have a network of their own", "worst other", "What the neurons write")]
    assert places == sorted(places)
    task_story.viewer(found).save(tmp_path / "viewer.html")
    assert (tmp_path / "viewer.html").stat().st_size > 10_000
