"""Tiny random models, and what is done to models in several tests."""

from __future__ import annotations

import numpy as np
import torch

CPU = torch.device("cpu")
TORCH = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    return GPT2LMHeadModel(config).eval()


def bridged(model, *, like=None):
    """A TransformerLens bridge around a Hugging Face model; ``like`` names its architecture where its class
    does not.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    return build_bridge_from_module(model, like or type(model).__name__, hf_config=model.config)


class CountedForwards:
    """Counts forward passes of a model without touching its hooks."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.n = 0
        self._handle = model.register_forward_pre_hook(self._count)

    def _count(self, module: torch.nn.Module, inputs: object) -> None:
        self.n += 1


def worded(path, model, *, bos=None, template=None):
    """A Hugging Face folder of a model with a tokenizer of words w0, w1, ...; with BOS w1 if asked for."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(model.config.vocab_size)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=bos, add_bos_token=bos is not None)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(path)
    model.save_pretrained(path)
    return path


def own_words(model, n: int = 20, seed: int = 0) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompts with what the model itself says next, so that its exact match is 1."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        before = tuple(rng.integers(0, 50, 5).tolist())
        with torch.no_grad():
            pairs.append((before, (int(model(torch.tensor([before]))[0, -1].argmax()),)))
    return pairs
