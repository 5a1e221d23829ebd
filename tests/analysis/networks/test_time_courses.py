"""Time courses of networks: values by hand, planted sources found again, the GLM on them, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks

SPACE = fbn.UnitSpace("mlp.neurons", (30, 20), model="external")


def sources(seed: int = 0) -> tuple[fbn.Recording, fbn.Atlas, list[np.ndarray]]:
    """Two runs in which three maps with courses of their own are mixed; the first course follows condition a."""
    rng = np.random.default_rng(seed)
    maps = rng.laplace(size=(3, 50))
    courses, runs = [], []
    for _ in range(2):
        course = rng.normal(size=(80, 3))
        course[:, 0] += np.repeat([2.0, 0.0] * 4, 10)
        y = course @ maps + 5 + 0.01 * rng.normal(size=(80, 50))
        courses.append(course)
        runs.append([y[:, :30], y[:, 30:]])
    recording = fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2)
    networks = {f"N{i}": fbn.Network.from_indices(SPACE, np.argsort(-np.abs(one))[:5]) for i, one in enumerate(maps)}
    return recording, fbn.Atlas(SPACE, networks, maps=maps), courses


def test_means_of_members_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.ROWS", 7)
    monkeypatch.setattr("tl_fbn.analysis.unit_blocks.UNITS", 4)
    recording, _, _ = sources()
    signs = np.zeros(50, dtype=np.int8)
    signs[[2, 33, 40]] = [1, -1, 1]
    network = fbn.Network(SPACE, signs != 0, signs, "signed")
    found = fbn.networks.time_courses(recording, {"one": network, "two": fbn.Network.from_indices(SPACE, [7])})
    for run, course in zip(recording, found, strict=True):
        y = run.read().astype(float)
        np.testing.assert_allclose(course.layer(0)[:, 0], (y[:, 2] - y[:, 33] + y[:, 40]) / 3, rtol=1e-6)
        np.testing.assert_allclose(course.layer(0)[:, 1], y[:, 7], rtol=1e-6)
        assert course.events.equals(run.events)
    plain = fbn.networks.time_courses(recording, network, signed=False)[0].layer(0)[:, 0]
    np.testing.assert_allclose(plain, recording[0].read(units=network).mean(1), rtol=1e-6)


def test_regression_unmixes_what_maps_have_mixed() -> None:
    recording, atlas, courses = sources()
    found = fbn.networks.time_courses(recording, atlas, how="regression")
    for run, course in zip(found, courses, strict=True):
        np.testing.assert_allclose(run.layer(0), course, atol=0.02)  # the constant 5 is off every row


def test_which_network_is_task_positive() -> None:
    recording, atlas, _ = sources()
    courses = fbn.networks.time_courses(recording, atlas, how="regression")
    contrast = fbn.fit_glm(courses).contrast("a - b")
    assert contrast.effect.values[0] == pytest.approx(2, abs=0.6)
    assert contrast.p.values[0] < 0.001 < contrast.p.values[1:].min()
    assert fbn.max_t(courses, "a - b", n_permutations=200, seed=0).threshold(fwe=0.05).indices.tolist() == [0]
    assert courses.provenance["recording"] != recording.provenance["recording"]
    assert courses.about["networks"] == ["N0", "N1", "N2"]


def test_refusals() -> None:
    recording, atlas, _ = sources()
    with pytest.raises(ValueError, match="no network of 'none' has units, so there is no time course"):
        fbn.networks.time_courses(recording, {"none": fbn.Network.from_indices(SPACE, [])})
    with pytest.raises(ValueError, match="got no networks"):
        fbn.networks.time_courses(recording, {})
    with pytest.raises(ValueError, match="needs an atlas with maps"):
        fbn.networks.time_courses(recording, dict(atlas), how="regression")
    twice = fbn.Atlas(SPACE, {"a": atlas["N0"], "b": atlas["N1"]}, maps=np.tile(np.asarray(atlas.maps)[0], (2, 1)))
    with pytest.raises(ValueError, match="the 2 maps of this atlas follow from each other"):
        fbn.networks.time_courses(recording, twice, how="regression")
    elsewhere = fbn.Network.from_indices(fbn.UnitSpace("mlp.neurons", (50,)), [1])
    with pytest.raises(ValueError, match="cannot read the time course of"):
        fbn.networks.time_courses(recording, elsewhere)
