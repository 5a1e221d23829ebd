"""Shared fixtures: tiny models and recordings. No test touches the network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn

SHARED = Path(__file__).resolve().parents[2] / "shared"


def blocks(conditions: list[str], rows: int) -> pd.DataFrame:
    """Events of blocks of equal length."""
    return pd.DataFrame(
        {"onset": [rows * i for i in range(len(conditions))], "duration": rows, "trial_type": conditions}
    )


def tiny_model(*, n_layers: int = 2, d_mlp: int = 24, seed: int = 0, d_vocab: int = 50, n_ctx: int = 32):
    """A random native bridge without a tokenizer, in eval mode."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=16,
        d_head=8,
        n_heads=2,
        n_layers=n_layers,
        n_ctx=n_ctx,
        d_mlp=d_mlp,
        d_vocab=d_vocab,
        act_fn="gelu",
        normalization_type="LN",
        seed=seed,
    )
    return TransformerBridge.boot_native(config).eval()


def tiny_llama():
    """A random gated Hugging Face model with grouped queries, in eval mode."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def tiny_gpt2():
    """A random ungated Hugging Face model with dropout, in eval mode."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    return GPT2LMHeadModel(config).eval()


def bridged(model, *, like=None):
    """A TransformerLens bridge around a Hugging Face model; ``like`` names its architecture where its class does not."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    return build_bridge_from_module(model, like or type(model).__name__, hf_config=model.config)


@pytest.fixture(scope="session")
def demo_model():
    """The embedded model; never leave hooks on it."""
    return fbn.demo.load_model()


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def noise_recording() -> fbn.Recording:
    """Two runs of white noise: 2 layers of 5 and 7 units, 8 blocks of 10 rows of conditions a and b."""
    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(80, width)) for width in (5, 7)] for _ in range(2)]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package without the tests' type checker: as users call it, and as fast."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
