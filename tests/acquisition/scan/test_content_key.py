"""Keys: what was recorded decides, and how or where it was recorded does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design, token_prompts
from tests.helpers.models import bridged, tiny_gpt2, tiny_model
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.scan import content_key as keys


def key_of(model: Any, design: Any = None, **options: Any) -> str:
    return fbn.Scanner(model, **options).stream(small_design() if design is None else design, progress=False).key


def key_under_pool(model: Any, pool: str, tmp_path: Any) -> str:
    return fbn.Scanner(model, pool=pool).scan(small_design(), tmp_path / pool, progress=False).key


def test_the_same_content_has_the_same_key_whatever_else() -> None:
    key = key_of(tiny_model())
    assert key_of(tiny_model()) == key  # another object of the same weights
    assert key_of(tiny_model(), batch_size=2) == key
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert key_of(tiny_model()) == key
    finally:
        torch.set_num_threads(threads)


def test_one_element_of_one_weight_changes_it_also_through_data() -> None:
    model = tiny_model()
    before = key_of(model)
    for parameter in model.parameters():
        old = parameter.data.view(-1)[-1].clone()
        parameter.data.view(-1)[-1] = -old if old else 1e-7
        assert key_of(model) != before
        parameter.data.view(-1)[-1] = old
    assert key_of(model) == before


def generated(**options: Any) -> Any:
    prompts = {"a": token_prompts(30, seed=1), "b": token_prompts(30, seed=2)}
    return fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=10, generate=True, **options)


def test_every_choice_of_content_changes_it(tmp_path) -> None:
    model = tiny_model(n_ctx=128)
    network = fbn.Network.from_indices(fbn.Scanner(model).space, [3])
    keys_seen = [
        key_of(model),
        key_of(model, small_design(seed=1)),
        key_of(model, site="mlp.pre"),
        key_of(model, layers=[0]),
        key_of(model, dtype="bfloat16"),
        key_of(model, surprisal=False),
        key_of(model, entropy=True),
        key_under_pool(model, "mean", tmp_path),
        key_under_pool(model, "last", tmp_path),
        fbn.Scanner(model).stream(small_design(), hooks_id="mine", progress=False).key,
        key_of(model, generated(seed=0)),
        key_of(model, generated(seed=0, tokens_per_prompt=5)),
        key_of(model, generated(seed=0, tokens_per_prompt=5, carry_context=True)),
        key_of(model, generated(seed=0, temperature=1.0)),
        key_of(model, generated(seed=0, temperature=0.5)),
    ]
    for intervention in (fbn.inhibit(model, network), fbn.amplify(model, network, gain=2.0)):
        with intervention:
            keys_seen.append(key_of(model))
    assert len(set(keys_seen)) == len(keys_seen)


def test_the_tokenizer_is_content(demo_model) -> None:
    design = fbn.block_design(
        {"a": [[1, 2, 3], [2, 3, 4]], "b": [[3, 4, 5], [4, 5, 6]]}, n_runs=1, n_cycles=2, tokens_per_block=3, seed=0
    )
    before = key_of(demo_model, design)
    tokenizer = demo_model.tokenizer
    try:
        demo_model.tokenizer = fbn.demo.load_model().tokenizer
        assert key_of(demo_model, design) == before  # the same words
        demo_model.tokenizer.add_tokens(["another"])
        assert key_of(demo_model, design) == before  # no row of the recording has it
        demo_model.tokenizer.add_special_tokens({"pad_token": demo_model.tokenizer.convert_ids_to_tokens(6)})
        assert key_of(demo_model, design) != before  # the row table flags special tokens
    finally:
        demo_model.tokenizer = tokenizer


def test_compatibility_mode_is_content() -> None:
    model = bridged(tiny_gpt2())
    before = key_of(model)
    model.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    assert key_of(model) != before


def test_a_refusal_names_the_fields(tmp_path) -> None:
    about = {"key": "x", "fields": {"site": "a", "dtype": "float32", "gone": 1}}
    with pytest.raises(ValueError, match=r"\(gone: 1 there, None here; site: a there, b here\); give another folder"):
        keys.refuse_other(tmp_path, about, {"site": "b", "dtype": "float32"})
    assert keys.refuse_other(tmp_path, {"key": "k", "fields": {"a": [1]}}, {"a": (1,)}) == "k"


def forgotten(folder) -> None:
    """Make of a recording one of an earlier version, which noted no norms."""
    about = store.read_about(folder)
    del about["outgoing_norms"]
    store.write_about(folder, about)


def test_norms_of_outgoing_weights_stand_beside_the_key(tmp_path) -> None:
    model = tiny_model()
    scanner = fbn.Scanner(model)
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    expected = np.concatenate([np.linalg.norm(block.mlp.W_out.detach().numpy(), axis=1) for block in model.blocks])
    np.testing.assert_allclose(recording.outgoing_norms, expected, rtol=1e-6)
    assert keys.digest(recording.about["fields"]) == recording.key and "outgoing_norms" not in recording.about["fields"]
    stream = scanner.stream(small_design(), progress=False)
    np.testing.assert_array_equal(stream.outgoing_norms, recording.outgoing_norms)


def test_an_older_recording_opens_and_is_completed_by_the_same_scan(tmp_path, monkeypatch) -> None:
    scanner = fbn.Scanner(tiny_model())
    before = scanner.scan(small_design(), tmp_path / "r", progress=False)
    forgotten(tmp_path / "r")
    older = fbn.Recording.open(tmp_path / "r")
    assert older.outgoing_norms is None and older.key == before.key
    fit = fbn.fit_glm(older, progress=False)
    np.testing.assert_array_equal(fit.contrast("a - b").effect.values, fbn.fit_glm(before).contrast("a - b").estimate)
    with pytest.raises(fbn.errors.InputError, match=r"are not known: .* Scan again into the same folder"):
        fit.contrast("a - b").contribution  # noqa: B018
    monkeypatch.setattr("tl_fbn.acquisition.scan.forward_passes.Passes.read", None)  # no prompt is read
    again = scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert again.key == before.key
    np.testing.assert_array_equal(again.outgoing_norms, before.outgoing_norms)
    written = (tmp_path / "r" / store.ABOUT).stat().st_mtime_ns
    scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert (tmp_path / "r" / store.ABOUT).stat().st_mtime_ns == written  # once is enough


def test_a_folder_that_cannot_be_written_to_is_returned_as_it_is(tmp_path, monkeypatch) -> None:
    scanner = fbn.Scanner(tiny_model())
    scanner.scan(small_design(), tmp_path / "r", progress=False)
    forgotten(tmp_path / "r")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(store, "write_about", refuse)
    assert scanner.scan(small_design(), tmp_path / "r", progress=False).outgoing_norms is None


def test_norms_follow_the_units(tmp_path) -> None:
    scanner = fbn.Scanner(tiny_model(), site=["mlp.neurons", "resid.post", "attn.heads", "mlp.pre"])
    recording = scanner.scan(small_design(), tmp_path / "r", progress=False)
    neurons = recording.site("mlp.neurons")
    assert recording.site("attn.heads").outgoing_norms is None
    assert (recording.site("resid.post").outgoing_norms == 1).all()
    np.testing.assert_array_equal(recording.site("mlp.pre").outgoing_norms, neurons.outgoing_norms)
    np.testing.assert_array_equal(neurons.pool("mean").outgoing_norms, neurons.outgoing_norms)
    neurons.save(tmp_path / "one")
    np.testing.assert_array_equal(fbn.Recording.open(tmp_path / "one").outgoing_norms, neurons.outgoing_norms)
    assert fbn.ica.rotated_basis(neurons, seed=0).outgoing_norms is None
    network = fbn.Network.from_indices(neurons.space, [1, 2])
    courses = fbn.networks.time_courses(neurons, network)
    assert courses.outgoing_norms is None and "outgoing_norms" not in courses.about
