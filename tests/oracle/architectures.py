"""Tiny random Hugging Face models of many architectures, and where each site is in their own modules.

The oracle is PyTorch's hooks on an untouched copy of the Hugging Face model: which module's input or output is the
down projection's input, the attention's contribution to the residual stream, and so on, written from the architectures'
papers and Hugging Face's modelling code, without TransformerLens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from tests.helpers.models import bridged

VOCABULARY, D_MODEL, D_MLP, N_HEADS, N_LAYERS = 61, 32, 48, 4, 2
D_HEAD = D_MODEL // N_HEADS


@dataclass(frozen=True)
class Point:
    """The input or the output of a module of a layer, or one of the equal parts of it."""

    module: str
    side: str = "out"
    part: int | None = None
    n_parts: int = 2

    def read(self, value: Tensor, batch: int) -> Tensor:
        value = value.reshape(batch, -1, value.shape[-1])
        return value if self.part is None else value.chunk(self.n_parts, -1)[self.part]

    def write(self, value: Tensor, batch: int, new: Tensor) -> Tensor:
        if self.part is None:
            return new.reshape(value.shape)
        parts = list(value.reshape(batch, -1, value.shape[-1]).chunk(self.n_parts, -1))
        parts[self.part] = new
        return torch.cat(parts, -1).reshape(value.shape)


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Args:
        name: Hugging Face's name of the model class, without ``ForCausalLM``.
        config: What its configuration is given.
        points: Site to the point that is it; sites the architecture has not are left out.
        blocks: The list of layers.
        d_mlp: Its neurons a layer.
        label: What tests call it; the name where empty.
        bridge: The class name TransformerLens's bridge knows it by; the model's own where empty.
    """

    name: str
    config: dict[str, Any]
    points: dict[str, Point]
    blocks: str = "model.layers"
    d_mlp: int = D_MLP
    label: str = ""
    bridge: str = ""

    def __str__(self) -> str:
        return self.label or self.name

    def bridged(self, model: Any) -> Any:
        """A TransformerLens bridge of a copy of the model."""
        return bridged(copy.deepcopy(model), like=self.bridge).eval()

    def build(self, *, seed: int = 0, scale: float = 5.0) -> Any:
        """A model with weights ``scale`` times larger than they are drawn, so that every part matters."""
        import transformers

        torch.manual_seed(seed)
        config = getattr(transformers, f"{self.name}Config")(**self.config)
        config._attn_implementation = "eager"
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(scale)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        return model

    def layers(self, model: Any) -> list[Any]:
        return list(attrgetter(self.blocks)(model))

    @contextmanager
    def tapped(
        self, model: Any, site: str, batch: int, edit: Callable[[int, Tensor], Tensor] | None = None
    ) -> Iterator[dict[int, Tensor]]:
        """Activations of a site by layer while the model runs; after ``edit``, and still on the graph, where one is
        given.
        """
        point, seen, handles = self.points[site], {}, []
        for layer, block in enumerate(self.layers(model)):
            module = attrgetter(point.module)(block) if point.module else block

            def on(value: Tensor, layer: int = layer) -> Tensor:
                now = point.read(value, batch)
                if edit is not None:
                    now = edit(layer, now)
                    value = point.write(value, batch, now)
                seen[layer] = now.clone() if edit is None else now  # some architectures add in place afterwards
                return value

            if point.side == "in":

                def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], on: Any = on) -> Any:
                    if args:
                        return (on(args[0]), *args[1:]), kwargs
                    return args, kwargs | {"hidden_states": on(kwargs["hidden_states"])}

                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            else:

                def after(module: Any, args: Any, output: Any, on: Any = on) -> Any:
                    return (on(output[0]), *output[1:]) if isinstance(output, tuple) else on(output)

                handles.append(module.register_forward_hook(after))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


def _out(module: str) -> Point:
    return Point(module)


def _in(module: str) -> Point:
    return Point(module, "in")


RESIDUAL = {"resid.pre": Point("", "in"), "resid.post": Point("", "out")}

LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": 2,
    "head_dim": D_HEAD,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA_POINTS = {
    "mlp.neurons": _in("mlp.down_proj"),
    "mlp.pre": _out("mlp.gate_proj"),
    "mlp.up": _out("mlp.up_proj"),
    "mlp.out": _out("mlp.down_proj"),
    "attn.out": _out("self_attn.o_proj"),
    "attn.heads": _in("self_attn.o_proj"),
    "resid.mid": _in("post_attention_layernorm"),
    **RESIDUAL,
}
FUSED = {"mlp.pre": Point("mlp.gate_up_proj", part=0), "mlp.up": Point("mlp.gate_up_proj", part=1)}
SANDWICH = {  # norms after the sublayers too; what is added to the residual stream is their output
    "mlp.out": _out("post_feedforward_layernorm"),
    "attn.out": _out("post_attention_layernorm"),
    "resid.mid": _in("pre_feedforward_layernorm"),
}
NEOX = {
    "vocab_size": VOCABULARY,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "max_position_embeddings": 64,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": D_MODEL,
    "n_inner": D_MLP,
    "n_layer": N_LAYERS,
    "n_head": N_HEADS,
    "n_positions": 64,
}
OPT_POINTS = {
    "mlp.neurons": _in("fc2"),
    "mlp.pre": _out("fc1"),
    "mlp.out": _out("fc2"),
    "attn.out": _out("self_attn.out_proj"),
    "attn.heads": _in("self_attn.out_proj"),
    "resid.mid": _in("final_layer_norm"),
    **RESIDUAL,
}
OPT = {
    "vocab_size": VOCABULARY,
    "hidden_size": D_MODEL,
    "word_embed_proj_dim": D_MODEL,
    "ffn_dim": D_MLP,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "max_position_embeddings": 64,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
GALACTICA = {"activation_function": "gelu", "enable_bias": False, "layer_norm_elementwise_affine": False}


def _sublayers(down: str, pre: str, mlp: str, attention: str, heads: str, mid: str | None) -> dict[str, Point]:
    """Points of an ungated architecture: mid is the module whose input is the residual stream between the sublayers."""
    points = {
        "mlp.neurons": _in(down),
        "mlp.pre": _out(pre),
        "mlp.out": _out(mlp),
        "attn.out": _out(attention),
        "attn.heads": _in(heads),
        **RESIDUAL,
    }
    return points | ({"resid.mid": _in(mid)} if mid else {})


NEOX_POINTS = ("mlp.dense_4h_to_h", "mlp.dense_h_to_4h", "mlp", "attention.dense", "attention.dense")

ARCHITECTURES = [
    Architecture(
        "GPT2",
        GPT2,
        _sublayers("mlp.c_proj", "mlp.c_fc", "mlp.c_proj", "attn.c_proj", "attn.c_proj", "ln_2"),
        "transformer.h",
    ),
    Architecture("OPT", OPT | GALACTICA, OPT_POINTS, "model.decoder.layers", label="Galactica"),
    Architecture("OPT", OPT, OPT_POINTS, "model.decoder.layers"),
    Architecture(
        "GPTNeoX",
        NEOX | {"use_parallel_residual": True},
        _sublayers(*NEOX_POINTS, None),
        "gpt_neox.layers",
        label="Pythia",
    ),
    Architecture(
        "GPTNeoX",
        NEOX | {"use_parallel_residual": False},
        _sublayers(*NEOX_POINTS, "post_attention_layernorm"),
        "gpt_neox.layers",
    ),
    Architecture(
        "GPTJ",
        GPT2 | {"rotary_dim": 4},
        _sublayers("mlp.fc_out", "mlp.fc_in", "mlp", "attn.out_proj", "attn.out_proj", None),
        "transformer.h",
    ),
    Architecture(
        "GPTNeo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": D_MODEL,
            "intermediate_size": D_MLP,
            "num_layers": N_LAYERS,
            "num_heads": N_HEADS,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]],
        },
        _sublayers("mlp.c_proj", "mlp.c_fc", "mlp", "attn.attention.out_proj", "attn.attention.out_proj", "ln_2"),
        "transformer.h",
    ),
    Architecture("Llama", LLAMA, LLAMA_POINTS),
    Architecture("Mistral", LLAMA, LLAMA_POINTS),
    Architecture("Qwen2", LLAMA, LLAMA_POINTS),
    Architecture("Qwen3", LLAMA, LLAMA_POINTS),
    Architecture("Gemma", LLAMA, LLAMA_POINTS),
    Architecture("Gemma2", LLAMA, LLAMA_POINTS | SANDWICH),
    Architecture(
        "Gemma3Text",
        LLAMA,
        LLAMA_POINTS | SANDWICH,
        label="Gemma3",
        bridge="Gemma3ForCausalLM",
    ),
    Architecture(
        "Phi",
        LLAMA | {"partial_rotary_factor": 0.5, "num_key_value_heads": N_HEADS},
        _sublayers("mlp.fc2", "mlp.fc1", "mlp", "self_attn.dense", "self_attn.dense", None),
    ),
    Architecture("Phi3", LLAMA, LLAMA_POINTS | FUSED),
    Architecture("Olmo", LLAMA, LLAMA_POINTS),
    Architecture(
        "Olmo2",
        LLAMA,
        LLAMA_POINTS | SANDWICH | {"resid.mid": _in("mlp")},
    ),
    Architecture("Glm", LLAMA | {"partial_rotary_factor": 0.5}, LLAMA_POINTS | FUSED),
    Architecture(
        "Glm4",
        LLAMA | {"partial_rotary_factor": 0.5},
        LLAMA_POINTS | FUSED | {"mlp.out": _out("post_mlp_layernorm"), "attn.out": _out("post_self_attn_layernorm")},
    ),
    Architecture(
        "Falcon",
        NEOX
        | {
            "ffn_hidden_size": D_MLP,
            "new_decoder_architecture": False,
            "parallel_attn": True,
            "bias": False,
            "multi_query": True,
        },
        _sublayers(
            "mlp.dense_4h_to_h",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
            "self_attention.dense",
            "self_attention.dense",
            None,
        ),
        "transformer.h",
    ),
    Architecture(
        "Bloom",
        {"vocab_size": VOCABULARY, "hidden_size": D_MODEL, "n_layer": N_LAYERS, "n_head": N_HEADS},
        _sublayers(
            "mlp.dense_4h_to_h",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
            "self_attention.dense",
            "self_attention.dense",
            "post_attention_layernorm",
        ),
        "transformer.h",
        d_mlp=4 * D_MODEL,
    ),
]

MIXTURES = {
    # sparse layers only, and the first layer dense
    "Mixtral": Architecture("Mixtral", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}, {}),
    "Qwen3Moe": Architecture(
        "Qwen3Moe",
        LLAMA | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "mlp_only_layers": [0]},
        {"mlp.neurons": _in("mlp.down_proj")},
    ),
}


def architecture(label: str) -> Architecture:
    """An entry of the table by its label."""
    return next(one for one in ARCHITECTURES if str(one) == label)
