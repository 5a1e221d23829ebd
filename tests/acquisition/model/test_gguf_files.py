"""Models in one .gguf file: unpacked to the numbers that were packed."""

from __future__ import annotations

import functools
import sys

import huggingface_hub
import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tl_fbn import models
from tl_fbn.acquisition.model import gguf_files
from tl_fbn.acquisition.model.host import number_type

gguf = pytest.importorskip("gguf")

N_LAYERS, WIDTH, N_NEURONS, N_HEADS = 2, 32, 64, 4
# byte-level BPE with one merge
WORDS = ["<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setattr(
        huggingface_hub,
        "cached_assets_path",
        functools.partial(huggingface_hub.cached_assets_path, assets_dir=tmp_path / "assets"),
    )


def matrices() -> dict[str, np.ndarray]:
    """Weights of a Llama by their names in a .gguf file."""
    rng = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(WORDS), WIDTH), "output.weight": (len(WORDS), WIDTH)}
    for layer in range(N_LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            shapes[f"blk.{layer}.{name}.weight"] = (N_NEURONS, WIDTH)
        shapes[f"blk.{layer}.ffn_down.weight"] = (WIDTH, N_NEURONS)
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [f"blk.{layer}.{name}.weight" for layer in range(N_LAYERS) for name in ("attn_norm", "ffn_norm")]
    return weights | {name: np.ones(WIDTH, np.float32) for name in [*norms, "output_norm.weight"]}


def written(path, kind=gguf.GGMLQuantizationType.F32):
    """A .gguf file of a tiny Llama; matrices are stored in a type, vectors in 32 bits."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(N_NEURONS)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(WORDS) - 1)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, values in matrices().items():
        stored = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("F16", "float16"), ("Q8_0", "bfloat16")])
def test_weights_are_those_of_the_file_and_auto_is_its_number_type(tmp_path, kind, dtype, monkeypatch):
    monkeypatch.setattr(models, "is_fast", lambda *about: True)  # whatever this processor is
    stored = gguf.GGMLQuantizationType[kind]
    path = written(tmp_path / "tiny-llama.gguf", stored)
    model = fbn.load_model(path, device="cpu", progress=False)
    assert model.cfg.model_name == "tiny-llama"
    down = model.original_model.model.layers[1].mlp.down_proj.weight
    packed = gguf.quants.quantize(matrices()["blk.1.ffn_down.weight"], stored)
    wanted = torch.from_numpy(gguf.quants.dequantize(packed, stored)).to(getattr(torch, dtype))
    torch.testing.assert_close(down.detach(), wanted, rtol=0, atol=0)
    assert number_type(model) == (f"{dtype} (unpacked from {kind})" if kind == "Q8_0" else dtype)


def test_a_folder_that_an_earlier_version_unpacked_learns_what_the_file_stores(tmp_path):
    path = written(tmp_path / "tiny.gguf", gguf.GGMLQuantizationType.Q8_0)
    note = gguf_files.unpacked(path) / "tl_fbn_gguf.json"
    note.write_text('{"dtype": "bfloat16"}')
    assert gguf_files.packed_type(gguf_files.unpacked(path)) == "Q8_0"
    assert gguf_files.stored_dtype(note.parent) == "bfloat16"


def test_a_file_is_unpacked_once_wherever_it_lies(tmp_path, monkeypatch):
    first = gguf_files.unpacked(written(tmp_path / "a.gguf"))
    monkeypatch.setattr(gguf_files, "_unpack", lambda *_: pytest.fail("unpacked twice"))
    (tmp_path / "a.gguf").rename(tmp_path / "b.gguf")
    assert gguf_files.unpacked(tmp_path / "b.gguf") == first


def test_what_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "page.gguf").write_text("<html>not found</html>")
    with pytest.raises(fbn.InputError, match=r"page\.gguf does not begin with the letters GGUF"):
        fbn.load_model(tmp_path / "page.gguf")


def test_a_file_cut_short_leaves_nothing_in_the_cache(tmp_path):
    path = written(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(fbn.InputError, match=r"cut\.gguf cannot be read as a model \(.*cut short"):
        fbn.load_model(path, progress=False)
    assert not [each for each in tmp_path.glob("assets/**/*") if each.is_file() and each.suffix != ".lock"]


@pytest.mark.parametrize(
    "content",
    [
        b"GGUF",  # nothing behind the first letters
        b"GGUF" + (9).to_bytes(4, "little") + bytes(64),  # a version that no reader knows
        b"GGUF" + (3).to_bytes(4, "little") + bytes(64),  # no tensor and no setting
        b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 64,  # counts beyond all measure
    ],
)
def test_a_corrupt_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(fbn.InputError, match=r"bad\.gguf cannot be read as a model \(.*download it again") as refused:
        fbn.load_model(path, device="cpu", progress=False)
    assert "\n" not in str(refused.value)


def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path):
    """The width is doubled, so that shapes no longer agree."""
    path = written(tmp_path / "bent.gguf")
    content = path.read_bytes()
    at = content.index(b"llama.embedding_length") + len(b"llama.embedding_length") + 4  # behind the type of the value
    path.write_bytes(content[:at] + (WIDTH * 2).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(fbn.InputError, match=r"bent\.gguf cannot be read as a model"):
        fbn.load_model(path, device="cpu", progress=False)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    path = written(tmp_path / "tiny.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(fbn.InputError, match=r'pip install "tl-fbn\[gguf\]"'):
        fbn.load_model(path)
