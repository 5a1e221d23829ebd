"""The scanner: values against an independent torch hook, batching, caching, keys, foreign hooks, refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model, worded
from tests.oracle.architectures import architecture
from tl_fbn.acquisition.model.fingerprint import N_TOKENS
from tl_fbn.acquisition.recording import store

DOWN_PROJECTIONS = {
    "llama": (tiny_llama, "mlp.down_proj"),
    "gpt2": (tiny_gpt2, "mlp.c_proj"),
}


@pytest.mark.parametrize("name", DOWN_PROJECTIONS)
def test_recorded_values_equal_an_independent_torch_hook(name, tmp_path):
    make, down = DOWN_PROJECTIONS[name]
    plain = make()
    expected: dict[int, torch.Tensor] = {}
    for path, module in plain.named_modules():
        if path.endswith(down):
            layer = int(next(part for part in path.split(".") if part.isdigit()))
            module.register_forward_pre_hook(
                lambda _, inputs, layer=layer: expected.__setitem__(layer, inputs[0].detach()[0])
            )
    recording = fbn.Scanner(bridged(make()), batch_size=3).scan(small_design(), tmp_path / "r", progress=False)
    for run in recording:
        for prompt, rows in run.rows.groupby("prompt"):
            with torch.no_grad():
                plain(torch.tensor([rows["token_id"].tolist()]))
            for layer, values in expected.items():
                np.testing.assert_allclose(
                    run.layer(layer)[rows.index], values, rtol=1e-5, atol=1e-6, err_msg=f"prompt {prompt}"
                )


def test_batch_size_changes_no_value(model, tmp_path):
    one = fbn.Scanner(model, batch_size=1).scan(small_design(), tmp_path / "one", progress=False)
    eight = fbn.Scanner(model, batch_size=8).scan(small_design(), tmp_path / "eight", progress=False)
    assert one.key == eight.key
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(a.rows["surprisal"], b.rows["surprisal"], rtol=1e-5, atol=1e-6)


def test_padding_is_never_recorded(model, tmp_path):
    design = small_design()
    recording = fbn.Scanner(model, batch_size=64).scan(design, tmp_path / "r", progress=False)
    assert recording.n_rows == design.n_rows
    alone = fbn.Scanner(model, batch_size=1).scan(design, tmp_path / "alone", progress=False)
    assert recording[0].rows.drop(columns="surprisal").equals(alone[0].rows.drop(columns="surprisal"))


def test_row_table_says_what_every_row_was(model, tmp_path):
    run = fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)[0]
    rows = run.rows
    assert list(rows.columns) == [
        "prompt",
        "block",
        "position",
        "token_id",
        "token",
        "trial_type",
        "surprisal",
        "flags",
    ]
    assert (rows.groupby("prompt")["position"].first() == 0).all()
    assert rows["surprisal"].isna().equals(rows["position"] == 0)
    assert (rows["trial_type"] == [kind for kind, span in run.blocks() for _ in range(span.start, span.stop)]).all()
    first = rows[rows["prompt"] == 0]
    with torch.no_grad():
        log_probs = model(torch.tensor([first["token_id"].tolist()])).log_softmax(-1)[0]
    expected = [-log_probs[i, token].item() for i, token in enumerate(first["token_id"].iloc[1:])]
    np.testing.assert_allclose(first["surprisal"].iloc[1:], expected, rtol=1e-4)


def test_bos_is_prepended_to_strings_and_flagged(demo_model, tmp_path):
    design = fbn.block_design(
        {"sort": fbn.prompts("sort", n=20), "rest": fbn.prompts("rest", n=20)}, n_runs=1, n_cycles=1, seed=0
    )
    rows = fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)[0].rows
    assert (rows.loc[rows["position"] == 0, "token"] == "<bos>").all()
    assert (rows.loc[rows["position"] == 0, "flags"] == "bos").all()
    assert (rows.loc[rows["token"] == "[INST]", "flags"] == "special").all()


def test_second_scan_reads_the_short_text_of_the_key_and_no_prompt(model, tmp_path):
    design, scanner = small_design(), fbn.Scanner(model)
    first = scanner.scan(design, tmp_path / "r", progress=False)
    seen = []
    original = type(model).__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "__call__", lambda *args, **kw: seen.append(args[1].shape) or original(*args, **kw))
        again = fbn.Scanner(model, batch_size=2).scan(design, tmp_path / "r", progress=False)
    assert seen == [(1, N_TOKENS)]
    assert again.key == first.key
    again.verify()


def test_missing_runs_are_completed_and_present_ones_kept(model, tmp_path):
    design = small_design(n_runs=3)
    whole = fbn.Scanner(model).scan(design, tmp_path / "whole", progress=False)
    broken = fbn.Scanner(model).scan(design, tmp_path / "broken", progress=False)
    before = store.run_folder(broken.path, 0) / "run.json"
    stamp = before.stat().st_mtime_ns
    for file in store.run_folder(broken.path, 1).iterdir():
        file.unlink()
    store.run_folder(broken.path, 1).rmdir()
    with pytest.raises(ValueError, match="holds 2 of 3 runs"):
        fbn.Recording.open(tmp_path / "broken")
    fbn.Scanner(model).scan(design, tmp_path / "broken", progress=False)
    assert before.stat().st_mtime_ns == stamp
    for number in range(3):
        for name in (store.DATA, store.ROWS, store.EVENTS):
            left, right = (store.run_folder(p, number) / name for p in (whole.path, tmp_path / "broken"))
            assert left.read_bytes() == right.read_bytes()


def test_a_different_scan_at_that_path_is_refused_and_the_field_named(model, tmp_path):
    fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    with pytest.raises(ValueError, match=r"different recording.*tokens:"):
        fbn.Scanner(model).scan(small_design(seed=1), tmp_path / "r", progress=False)
    with pytest.raises(ValueError, match=r"site: mlp\.neurons there, resid\.post here"):
        fbn.Scanner(model, site="resid.post").scan(small_design(), tmp_path / "r", progress=False)
    next(model.parameters()).data.view(-1)[0] += 1e-3
    with pytest.raises(ValueError, match=r"\(weights: "):
        fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)


def test_our_interventions_are_part_of_the_key(model, tmp_path):
    scanner = fbn.Scanner(model)
    network = fbn.Network.from_indices(scanner.space, [0, 30])
    plain = scanner.scan(small_design(), tmp_path / "plain", progress=False)
    with fbn.inhibit(model, network):
        with pytest.raises(ValueError, match="interventions:"):
            scanner.scan(small_design(), tmp_path / "plain", progress=False)
        lesioned = scanner.scan(small_design(), tmp_path / "lesioned", progress=False)
    assert lesioned.key != plain.key
    assert not lesioned[0].read(units=network).any()
    assert plain[0].read(units=network).any()


def test_a_foreign_hook_that_writes_needs_a_name(model, tmp_path):
    def double(tensor, hook):
        return tensor * 2

    scanner = fbn.Scanner(model)
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", double)]):
        with pytest.raises(ValueError, match=r"hook of yours on blocks\.0\.\S+ changes activations.*hooks_id"):
            scanner.scan(small_design(), tmp_path / "r", progress=False)
        assert store.committed_runs(tmp_path / "r") == []
        named = scanner.scan(small_design(), tmp_path / "named", hooks_id="double", progress=False)
    plain = scanner.scan(small_design(), tmp_path / "r", progress=False)
    assert named.key != plain.key
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", double)]), pytest.raises(ValueError, match="hooks_id"):
        scanner.scan(small_design(), tmp_path / "r", progress=False)


def test_a_foreign_hook_that_reads_is_left_alone(model, tmp_path):
    seen = []

    def look(tensor, hook):
        seen.append(tensor.shape)

    with model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", look)]):
        scanner = fbn.Scanner(model)
        scanner.scan(small_design(), tmp_path / "r", progress=False)
        count = len(seen)
        assert count > 0
        scanner.scan(small_design(), tmp_path / "r", progress=False)
        assert len(seen) == count + 1  # one prompt, in case the hook writes by now
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_scan_leaves_no_hook_and_no_gradient(model, tmp_path):
    fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    assert not any(point.fwd_hooks or point._forward_hooks for point in model.hook_dict.values())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_an_exception_in_a_users_hook_leaves_nothing_behind(model, tmp_path):
    def fail(tensor, hook):
        raise RuntimeError("mine")

    with model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", fail)]), pytest.raises(RuntimeError, match="mine"):
        fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    assert not (tmp_path / "r").exists()
    fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False).verify()


def test_activations_that_are_not_finite_are_named_and_not_committed(model, tmp_path):
    model.blocks[1].mlp.W_in.data[:, 3] = float("nan")
    with pytest.raises(ValueError, match=r"run 0, layer 1, row [0-9]+ has NaN or infinite activations"):
        fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    assert store.committed_runs(tmp_path / "r") == []


def test_dropout_in_train_mode_is_refused(tmp_path):
    hf = tiny_gpt2()
    bridge = bridged(hf)
    hf.train()
    with pytest.raises(ValueError, match=r"training mode with dropout.*model\.eval\(\)"):
        fbn.Scanner(bridge).scan(small_design(), tmp_path / "r", progress=False)


def test_plan_counts_what_scan_writes(model, tmp_path):
    scanner, design = fbn.Scanner(model), small_design()
    plan = scanner.plan(design, tmp_path / "not" / "yet")
    recording = scanner.scan(design, tmp_path / "r", progress=False)
    assert plan.n_rows == recording.n_rows
    data = sum((store.run_folder(recording.path, i) / store.DATA).stat().st_size for i in range(len(recording)))
    assert plan.n_bytes <= data < plan.n_bytes + 1024 * len(recording)
    assert plan.free_bytes > 0
    assert "160 rows x 48 units" in repr(plan)


def test_a_full_disk_is_foreseen(model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(OSError, match="make room"):
        fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)


def test_refusals(model, tmp_path):
    with pytest.raises(ValueError, match=r"unknown site 'mlp\.neuron'.*Did you mean .mlp\.neurons"):
        fbn.Scanner(model, site="mlp.neuron")
    long = fbn.block_design({"a": [list(range(33))], "b": [[1, 2]]}, n_runs=1, n_cycles=1, tokens_per_block=4, seed=0)
    with pytest.raises(ValueError, match=r"has 33 tokens, the model's context holds 32"):
        fbn.Scanner(model).plan(long)
    few = fbn.block_design({"a": [[1, 2, 3]], "b": [[4, 5, 6]]}, n_runs=1, n_cycles=1, tokens_per_block=8, seed=0)
    with pytest.raises(ValueError, match="condition 'a' has 1 distinct prompts"):
        fbn.Scanner(model).scan(few, tmp_path / "r")
    text = fbn.block_design({"a": ["x"], "b": ["y"]}, n_runs=1, n_cycles=1, tokens_per_block=8, seed=0)
    with pytest.raises(ValueError, match="no tokenizer"):
        fbn.Scanner(model).plan(text)
    with pytest.raises(TypeError, match="cannot be hooked"):
        fbn.Scanner(torch.nn.Linear(2, 2))


def test_other_sites_record_what_their_hook_carries(model, tmp_path):
    design = small_design(n_runs=1)
    for site, hook in (
        ("resid.post", "blocks.{layer}.hook_resid_post"),
        ("blocks.{layer}.ln2.hook_out", "blocks.{layer}.ln2.hook_out"),
    ):
        recording = fbn.Scanner(model, site=site).scan(
            design, tmp_path / site.replace(".", "_").replace("{", "").replace("}", ""), progress=False
        )
        rows = recording[0].rows
        ids = torch.tensor([rows.loc[rows["prompt"] == 0, "token_id"].tolist()])
        _, cache = model.run_with_cache(ids)
        for layer in range(2):
            expected = cache[hook.format(layer=layer)][0].detach().numpy()
            np.testing.assert_allclose(recording[0].layer(layer)[: len(expected)], expected, rtol=1e-5, atol=1e-6)


def test_recording_json_holds_fields_and_prompts(model, tmp_path):
    recording = fbn.Scanner(model).scan(small_design(), tmp_path / "r", progress=False)
    about = json.loads((tmp_path / "r" / store.ABOUT).read_text())
    assert about["key"] == recording.key
    assert set(about["fields"]) == {
        "weights",
        "computes",
        "compatibility_mode",
        "tokenizer",
        "generation",
        "entropy",
        "pool",
        "tokens",
        "blocks",
        "site",
        "widths",
        "dtype",
        "surprisal",
        "interventions",
        "hooks_id",
    }
    assert len(recording.provenance["prompts"]) > 10
    assert tiny_model().cfg.n_layers == recording.space.n_layers


def words(first, n=12):
    return [f"w{first + i} w{first + i + 1} w3" for i in range(n)]


@pytest.mark.parametrize("generate", [False, True])
def test_galacticas_tokenizer_without_special_tokens(generate, tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    galactica = architecture("Galactica")
    folder = worded(tmp_path / "model", galactica.build())
    model = TransformerBridge.boot_transformers(str(folder)).eval()
    prompts = {"a": words(4), "b": words(20)}
    design = fbn.block_design(prompts, n_runs=1, n_cycles=2, tokens_per_block=6, seed=0, generate=generate)
    rows = fbn.Scanner(model).scan(design, tmp_path / "r", progress=False)[0].rows
    assert rows["token_id"].max() < model.cfg.d_vocab
    assert not rows["flags"].str.contains("bos").any()
    if not generate:
        assert (rows.groupby("prompt")["token"].apply(lambda tokens: tokens.iloc[-1].strip()) == "w3").all()
    battery = fbn.Battery.from_pairs({"task": [("w4 w5", "w6")]})
    assert np.isfinite(battery.score(model)["task"].log_likelihood).all()


def test_chats_are_what_the_template_writes(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    template = (
        "{{ bos_token }}{% for m in messages %} {% if m['role'] == 'user' %}w7{% else %}w8{% endif %} {{ m['content'] }}"
        "{% endfor %}{% if add_generation_prompt %} w8{% endif %}"
    )
    torch.manual_seed(0)
    folder = worded(tmp_path / "model", tiny_gpt2(), bos="w1", template=template)
    model = TransformerBridge.boot_transformers(str(folder)).eval()
    options = {"n_runs": 1, "n_cycles": 2, "tokens_per_block": 9, "seed": 0}

    def chats(first):
        return [
            [{"role": "user", "content": text}, {"role": "assistant", "content": "w9 w10"}] for text in words(first, 6)
        ]

    scanner = fbn.Scanner(model, batch_size=3)
    shown = scanner.scan(
        fbn.block_design({"a": chats(11), "b": chats(30)}, **options), tmp_path / "chats", progress=False
    )
    written = {name: [f"w7 {text} w8 w9 w10" for text in words(first, 6)] for name, first in (("a", 11), ("b", 30))}
    as_text = scanner.scan(fbn.block_design(written, **options), tmp_path / "text", progress=False)
    assert shown[0].rows["token_id"][:9].tolist()[:2] == [1, 7]
    assert sorted(map(tuple, shown[0].rows.groupby("prompt")["token_id"].apply(list))) == sorted(
        map(tuple, as_text[0].rows.groupby("prompt")["token_id"].apply(list))
    )
    # generated rows: the template opens the assistant's turn
    asked = {"a": [chat[:1] for chat in chats(11)], "b": [chat[:1] for chat in chats(30)]}
    design = fbn.block_design(asked, generate=True, **options)
    recording = scanner.scan(design, tmp_path / "replies", progress=False)
    about = json.loads((store.run_folder(recording.path, 0) / store.ABOUT_RUN).read_text())
    assert all(ids[:2] == [1, 7] and ids[-1] == 8 for ids in about["prompts"])


def test_a_model_split_by_accelerate_records_the_same(tmp_path):
    from accelerate import dispatch_model

    torch.manual_seed(0)
    whole = tiny_gpt2()
    torch.manual_seed(0)
    split = dispatch_model(
        tiny_gpt2(),
        {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.h.0": "cpu"}
        | {"transformer.h.1": "disk", "transformer.ln_f": "cpu", "lm_head": "cpu"},
        main_device="cpu",
        offload_dir=tmp_path / "offloaded",
    )
    assert any(hasattr(module, "_hf_hook") for module in split.modules())
    recordings = [
        fbn.Scanner(bridged(model)).scan(small_design(), tmp_path / name, progress=False)
        for name, model in (("whole", whole), ("split", split))
    ]
    for a, b in zip(*recordings, strict=True):
        np.testing.assert_allclose(a.read(), b.read(), rtol=1e-5, atol=1e-6)
    weights = [recording.about["fields"]["weights"] for recording in recordings]
    assert weights[0] == weights[1]  # where a weight is kept is no content


def test_a_scanner_says_what_it_records(demo_model):
    shown = repr(fbn.Scanner(demo_model, site=["mlp.neurons", "resid.post"], layers=[0, 2]))
    assert shown.startswith("Scanner of tl_fbn-demo mlp.neurons (") and "resid.post" in shown
    assert shown.endswith(".scan(design, folder) records")


def test_the_number_type_of_the_model_goes_from_the_recording_to_the_page(tmp_path):
    model = fbn.load_model("demo", "bfloat16", "cpu")
    prompts = {"sort": fbn.prompts("sort", n=40), "add": fbn.prompts("add", n=40)}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=2, tokens_per_block=16, seed=0)
    scanner = fbn.Scanner(model)
    recording = scanner.scan(design, tmp_path / "r", progress=False)
    assert "tl_fbn-demo mlp.neurons (3 x 384) in bfloat16, stored as float32; conditions" in repr(recording)
    assert "activations in bfloat16, stored as float32" in recording._methods_()[0]
    assert "in bfloat16, stored as float32" in recording._report_sections_()[0]["text"]
    assert "in bfloat16;" in repr(recording.pool("mean"))
    stream = scanner.stream(design, progress=False)
    assert "in bfloat16, stored" not in repr(stream) and "(3 x 384) in bfloat16; nothing" in repr(stream)
    for source in (recording, stream):
        network = fbn.fit_glm(source).contrast("sort - add").t.top(5)
        assert network.provenance["model_dtype"] == "bfloat16"
    fbn.Report("page", recording, network).save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "bfloat16" in page and "Models computed in these number types: tl_fbn-demo in bfloat16." in page
    # an earlier version wrote no number type: such a recording opens, and says nothing of it
    about = dict(recording.about)
    del about["model_dtype"]
    older = fbn.Recording(recording.spaces, recording.runs_of, about)
    assert "float" not in repr(older) and "model_dtype" not in older.provenance
