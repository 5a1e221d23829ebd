"""``tl-fbn lesion``: the study is the library's; items a network was found on, and units of other models, are
refused.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, refused
from tl_fbn.cli import result_files

SMALL = ("--controls", "3", "--items", "8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_model):
    """Networks that are known to matter: the answer's gradients of two tasks."""
    path = tmp_path_factory.mktemp("lesions")
    settings = {"tokens": "answer", "variant": "grad_x_act", "progress": False}
    maps = {task: fbn.cgvst(demo_model, fbn.chats(task, n=10), **settings) for task in ("sort", "add")}
    networks = {task: one.top(0.05, name=task) for task, one in fbn.specific_scores(maps).items()}
    for task, network in networks.items():
        network.save(path / f"network-{task}.safetensors")
    fbn.Atlas.from_networks({f"N{i}": one for i, one in enumerate(networks.values())}).save(path / "atlas.safetensors")
    return path


def test_the_study_is_the_librarys(folder, demo_model):
    asked = (
        "lesion",
        "demo",
        folder / "network-sort.safetensors",
        folder / "network-add.safetensors",
        "--battery",
        "demo",
    )
    found = answer(*asked, *SMALL, "--seed", "4")
    networks = {task: fbn.Network.load(folder / f"network-{task}.safetensors") for task in ("sort", "add")}
    expected = fbn.lesion_study(demo_model, networks, fbn.demo.battery(n=8), n_controls=3, seed=4, progress=False)
    study = fbn.studies.LesionStudy.load(found["study"])
    assert np.array_equal(study.drops(), expected.drops())
    assert np.array_equal(study.controls, expected.controls)
    assert [line["p"] for line in found["lesions"]] == expected.to_dataframe()["p"].tolist()
    assert [line["own"] for line in found["summary"]] == expected.summary()["own"].tolist()
    assert found["double_dissociations"][0]["interaction"] == expected.dissociations()["interaction"][0]
    assert found["study"] == str(folder / "lesions-sort+add-demo.safetensors")
    assert [path.name for path in folder.iterdir() if path.suffix == ".parts"] == []


def test_the_tables(folder, tmp_path):
    network = folder / "network-sort.safetensors"
    text = invoke(
        "lesion", "demo", network, "--battery", "demo", *SMALL, "--task", "sort", "--task", "add", "-o", tmp_path
    ).stdout
    assert "network  units  own  other_worst  worst_task  isolation  control_p95     p\nsort        57  " in text
    assert "so at least 0.25; not corrected for the number of lines" in text
    renamed = invoke(
        "lesion", "demo", f"mine={network}", "--battery", "demo", *SMALL, "--task", "sort", "-o", tmp_path
    ).stdout
    assert "No network is named like a task (sort); NAME=FILE says which network is which task's." in renamed
    assert "network  task  lesioned  drop  low  high  control_p95     p\nmine     sort  " in renamed
    assert "Without a lesion: sort 100" in renamed
    assert "3 random networks cannot show that a lesion costs more than chance" in renamed
    assert (tmp_path / "lesions-mine-demo.safetensors").exists()


def test_atlases_controls_methods_and_several_batteries(folder, tmp_path):
    ask = {"question": "1 2 3", "choices": ["1", "2"], "answer": "1"}
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join([json.dumps(ask)] * 2))
    batteries = ("--battery", tmp_path / "one.jsonl", "--battery", tmp_path / "two.jsonl")
    options = (
        "--control-kind",
        "rotated",
        "--control-kind",
        "random",
        "--metric",
        "log_likelihood",
        "--positions",
        "last",
    )
    found = answer(
        "lesion",
        "demo",
        folder / "atlas.safetensors",
        "--only",
        "N1",
        *batteries,
        *options,
        "--controls",
        "2",
        "-o",
        tmp_path,
    )
    assert found["networks"] == {"N1": 57}
    assert found["controls"] == {"rotated": 2, "random": 2}
    assert {line["task"] for line in found["lesions"]} == {"one", "two"}
    assert {line["metric"] for line in found["lesions"]} == {"log_likelihood"}


def test_one_network_of_an_atlas_under_another_name(folder, tmp_path):
    source = folder / "atlas.safetensors"
    found, origin = result_files.load_networks([f"sort={source}:N0", f"{source}:N1"])
    assert (list(found), origin) == (["sort", "N1"], folder)
    assert found["sort"] == fbn.Network.load(folder / "network-sort.safetensors")
    assert found["sort"].name == "sort"
    said = refused("lesion", "demo", f"{source}:N7", "--battery", "demo")
    assert f"no network is called 'N7' in {source}; networks: N0, N1" in said


def test_excluded_units_are_those_of_a_file(folder, tmp_path, demo_model):
    network = fbn.Network.load(folder / "network-sort.safetensors")
    out = fbn.Network.from_indices(network.space, network.indices[:7], name="everywhere")
    out.save(tmp_path / "out.safetensors")
    asked = ("lesion", "demo", folder / "network-sort.safetensors", "--battery", "demo", "--task", "sort", *SMALL)
    asked = (*asked, "--exclude", tmp_path / "out.safetensors", "-o", tmp_path / "x")
    found = answer(*asked)
    assert found["networks"] == {"sort": 50}
    assert found["excluded"] == {"name": "everywhere", "units": 7, "of": {"sort": 7}}
    assert found["study"] == str(tmp_path / "x" / "lesions-sort-demo-without-out.safetensors")
    said = "7 units (everywhere) were taken out of networks, rivals and controls alike: 7 of sort."
    assert said in " ".join(invoke(*asked).stdout.split())
    battery = fbn.demo.battery(n=8).select(["sort"])
    expected = fbn.lesion_study(
        demo_model, {"sort": network}, battery, n_controls=3, seed=0, exclude=out, progress=False
    )
    assert np.array_equal(fbn.load(found["study"]).controls, expected.controls)
    few = {"n_candidates": 4, "n_pairs": 2, "n_null": 19, "largest": 2, "progress": False}
    collapse = fbn.collapse_neurons(demo_model, fbn.prompts("sort", n=12), **few)
    collapse.save(tmp_path / "c.safetensors")
    plan = answer(*asked[:-4], "--exclude", tmp_path / "c.safetensors", "-o", tmp_path / "x", "--plan")
    assert plan["plan"]["lesions"] == 4
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert "neither collapse neurons nor a network" in refused(*asked[:-4], "--exclude", tmp_path / "table.csv")
    assert "takes out all 57 units" in refused(*asked[:-4], "--exclude", folder / "network-sort.safetensors")


def test_a_plan_runs_no_lesion(folder, tmp_path):
    asked = (
        "lesion",
        "demo",
        folder / "network-sort.safetensors",
        "--battery",
        "demo",
        *SMALL,
        "--plan",
        "-o",
        tmp_path / "x",
    )
    found = answer(*asked)
    assert (found["plan"]["lesions"], found["plan"]["items"], found["study"]) == (4, 56, None)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_networks_and_a_kept_folder(folder, tmp_path, demo_model):
    network = fbn.Network.load(folder / "network-sort.safetensors")
    (tmp_path / "some").mkdir()
    network.save(tmp_path / "some" / "network-sort.safetensors")
    asked = (
        "lesion",
        "demo",
        tmp_path / "some",
        "--battery",
        "demo",
        "--task",
        "sort",
        *SMALL,
        "--resume",
        tmp_path / "kept",
    )
    first = answer(*asked)
    assert first["study"] == str(tmp_path / "some" / "lesions-sort-demo.safetensors")
    assert (tmp_path / "kept" / "study.json").exists()  # asked for by name, so it stays
    assert answer(*asked)["lesions"] == first["lesions"]


def test_prompts_of_discovery_and_battery_must_differ(folder, tmp_path):
    chat = fbn.chats("sort", n=1)[0]
    ask = {"question": chat[0]["content"], "answer": chat[1]["content"]}
    (tmp_path / "sort.jsonl").write_text("\n".join([json.dumps(ask)] * 2))
    said = refused(
        "lesion",
        "demo",
        folder / "network-sort.safetensors",
        "--battery",
        tmp_path / "sort.jsonl",
        "-o",
        tmp_path / "x",
    )
    assert "was found on 1 of the prompts that task 'sort' scores" in said
    assert not (tmp_path / "x").exists()


def test_units_of_another_model_are_refused_before_anything_is_written(tmp_path):
    fbn.Network.from_indices(fbn.UnitSpace("mlp.neurons", (9, 9)), [0]).save(tmp_path / "n.safetensors")
    said = refused("lesion", "demo", tmp_path / "n.safetensors", "--battery", "demo", *SMALL)
    assert "this model offers tl_fbn-demo mlp.neurons (3 x 384)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["n.safetensors"]


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows the words a user may get wrong
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--controls", "0"], "--controls"),
        (["--control-kind", "magic"], "must be 'random', 'activity' or 'rotated'; got 'magic'"),
        (["--control-kind", "activity"], "needs reference="),
        (["--method", "mean"], 'method="mean" needs reference='),
        (["--method", "magic"], "method must be 'zero', 'mean', 'position_mean', 'resample' or 'noise'; got 'magic'"),
        (["--positions", "first"], "first"),
        (["--metric", "magic"], "metric='magic'"),
        (["--only", "add"], "no network is called add; networks: sort"),
        (["--task", "nonsense"], "no task nonsense in this battery"),
        (["--reference", "nowhere"], "no folder at nowhere"),
        (["--battery", "nowhere.jsonl"], "no file at nowhere.jsonl"),
        (["--battery", "demo"], "demo has a task 'copy', and so has another battery"),
    ],
)
def test_what_cannot_be_is_refused(options, words, folder, tmp_path):
    network = folder / "network-sort.safetensors"
    assert words in refused("lesion", "demo", network, "--battery", "demo", *SMALL, *options, "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_what_is_no_network_or_no_battery_is_refused(folder, tmp_path, demo_model):
    network = folder / "network-sort.safetensors"
    fbn.UnitMap(fbn.Scanner(demo_model).space, np.zeros(1152), "t").save(tmp_path / "map.safetensors")
    assert "holds a UnitMap, neither a network nor an atlas" in refused(
        "lesion", "demo", tmp_path / "map.safetensors", "--battery", "demo"
    )
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    assert "junk.safetensors" in refused("lesion", "demo", tmp_path / "junk.safetensors", "--battery", "demo")
    twice = refused("lesion", "demo", network, f"sort={folder / 'network-add.safetensors'}", "--battery", "demo")
    assert "two networks are called 'sort'" in twice
    assert "which cannot all be called 'x'" in refused(
        "lesion", "demo", f"x={folder / 'atlas.safetensors'}", "--battery", "demo"
    )
    file = tmp_path / "b.jsonl"
    file.write_text('{"question": "x", "answer": "y"}\n{"question": "x"}')
    assert f"{file}, line 2" in refused("lesion", "demo", network, "--battery", file)
    file.write_bytes(b"\xff\xfe")
    assert f"{file} is no text in UTF-8" in refused("lesion", "demo", network, "--battery", file)
    assert "give --battery FILE or --tasks FILES" in refused("lesion", "demo", network)


def test_the_reference_is_read_at_the_site_of_the_networks(folder, tmp_path, demo_model):
    design = fbn.block_design(
        {name: fbn.prompts(name, n=40) for name in ("sort", "rest")}, n_runs=2, n_cycles=2, tokens_per_block=12, seed=0
    )
    scanner = fbn.Scanner(demo_model, site=["resid.post", "mlp.neurons"])
    recording = scanner.scan(design, tmp_path / "r", progress=False).site("mlp.neurons")
    asked = (
        "lesion",
        "demo",
        folder / "network-sort.safetensors",
        "--battery",
        "demo",
        "--task",
        "sort",
        *SMALL,
        "-o",
        tmp_path,
    )
    found = answer(*asked, "--method", "mean", "--reference", tmp_path / "r")
    network = fbn.Network.load(folder / "network-sort.safetensors")
    battery = fbn.demo.battery(n=8).select(["sort"])
    expected = fbn.lesion_study(
        demo_model, {"sort": network}, battery, n_controls=3, method="mean", reference=recording, seed=0, progress=False
    )
    assert pd.DataFrame(found["lesions"])["drop"].tolist() == expected.to_dataframe()["drop"].tolist()
    assert found["study"].endswith("lesions-sort-demo-mean.safetensors")  # beside the study of zeros


def test_what_was_wrong_without_a_lesion_is_not_blamed_on_one(folder, tmp_path):
    wrong = {"prompt": "[INST] sort : b a [/INST]", "choices": ["a b", "b a"], "answer": "b a"}
    (tmp_path / "wrong.jsonl").write_text("\n".join([json.dumps(wrong)] * 8))
    text = invoke(
        "lesion",
        "demo",
        folder / "network-sort.safetensors",
        "--battery",
        tmp_path / "wrong.jsonl",
        "--battery",
        "demo",
        *SMALL,
        "--task",
        "wrong",
        "--task",
        "sort",
        "-o",
        tmp_path,
    ).stdout
    assert "Without a lesion: wrong 0 (chance 50), sort 100" in text
    assert "Without a lesion, wrong: no better than the majority" in text
    assert "sort silenced, wrong: no better than the majority" not in text


def test_likelihoods_without_a_lesion_are_in_nats(folder, tmp_path):
    asked = ("lesion", "demo", folder / "network-sort.safetensors", "--battery", "demo", *SMALL, "--task", "sort")
    text = invoke(*asked, "--metric", "log_likelihood", "-o", tmp_path).stdout
    assert "Without a lesion: sort -0.0" in text
