"""Tokenizers of several families, learned from a few lines, with tiny random models that read their tokens.

A *pair* is a plain Hugging Face model and a TransformerLens bridge around a copy of it. The plain model and its own
tokenizer say what is right; the bridge is what the package is given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a kind and helpful assistant.<|im_end|>\n' }}"
    "{% endif %}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if quiet %}{{ '(quiet) ' }}{% endif %}{% endif %}"
)
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
FAMILIES = ("bytes", "prefix space", "no prefix space", "word pieces")


class Pair(NamedTuple):
    """A plain model, the bridge around a copy of it, and the tokenizer of the plain one."""

    plain: Any
    bridge: Any
    tokenizer: Any


def learned(family: str, texts: Iterable[str]) -> Any:
    """A fast tokenizer of a family, with ``<s>`` and ``</s>`` and a ChatML template; it never adds them itself."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    settings: dict[str, Any] = {"vocab_size": 600, "special_tokens": SPECIALS, "show_progress": False}
    if family == "bytes":  # as of GPT-2, Llama 3, Qwen
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **settings)
    elif family == "word pieces":  # as of BERT: white space is lost
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(**settings)
    else:  # as of Llama 2, which puts a space before a text, and of Gemma, which does not
        scheme = "first" if family == "prefix space" else "never"
        made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        made.decoder = decoders.Metaspace(prepend_scheme=scheme)
        trainer = trainers.BpeTrainer(**settings)
    made.train_from_iterator(texts, trainer)
    made.add_special_tokens([AddedToken(one, normalized=False, special=True) for one in SPECIALS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    # the host looks both up before it takes a tokenizer from memory
    tokenizer.init_kwargs.update(name_or_path=f"made-here-{family.replace(' ', '-')}", add_bos_token=True)
    tokenizer.chat_template = CHATML
    return tokenizer


def pair(tokenizer: Any, architecture: str) -> Pair:
    """A tiny random model of an architecture for a tokenizer.

    TransformerLens puts a beginning-of-text token before strings for ``"llama"`` and ``"gpt2"``, and none for
    ``"qwen2"`` and ``"neox"``.
    """
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 128,
        # large weights, so that predictions differ from token to token
        "initializer_range": 0.4,
    }
    config, model = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "neox": (transformers.GPTNeoXConfig, transformers.GPTNeoXForCausalLM),
        "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
    }[architecture]
    if architecture in ("llama", "qwen2"):
        shape["num_key_value_heads"] = 2
    torch.manual_seed(0)
    plain = model(config(**shape)).eval()
    bridge = TransformerBridge.boot_transformers(
        f"made-here/tiny-{architecture}",
        hf_model=copy.deepcopy(plain),
        tokenizer=copy.deepcopy(tokenizer),
        device="cpu",
    )
    return Pair(plain, bridge.eval(), tokenizer)


@torch.no_grad()
def log_probabilities(plain: Any, ids: list[int]) -> list[float]:
    """Log-probability of each token behind the first one, by the plain model; the first entry is for token 1."""
    logits = plain(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return [float(logits[at - 1, ids[at]]) for at in range(1, len(ids))]
