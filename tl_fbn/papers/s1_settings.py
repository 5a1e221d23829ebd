"""What Song et al. (2024) state, where they state it, and what is our choice."""

from __future__ import annotations

from types import MappingProxyType

from tl_fbn.papers.preset import Preset

settings = Preset(
    name="s1_cgvst",
    source="Song et al. 2024, EMNLP, pp. 7101-7113, and its released code",
    stated=MappingProxyType(
        {
            "model, data": "Llama-2-7b-chat in bfloat16; tasks of Natural Instructions, first half of a task's rows to "
            "find neurons, second half to test (code)",
            "chats": "5 shots, the chat template with beginning and end of text empty, at most 1300 tokens, longer "
            "ones left out (code)",
            "special tokens": "every occurrence of [INST] and [/INST]; the <<SYS>> spans are defined and not used "
            "(code)",
            "loss": "mean cross-entropy of the special tokens P[1:28] plus that of P[29:], P their sorted positions; "
            "answers are not scored (code)",
            "score": "sum over items of abs(sum over inputs of the up projection's gradient) (code)",
            "selection": "the top 5 % of all layers together, int(.05 x units) (code)",
            "inhibition": "0 after the gate's nonlinearity, at every position: the same as 0 at mlp.neurons (code)",
            "evaluation": "greedy, at most 20 new tokens, stop at [INST], exact match after strip and lower case "
            "(code)",
        }
    ),
    unknown=MappingProxyType(
        {
            "amplification": "a gain of 2, as for knowledge neurons; the factor is not in the released code",
            "turns": "five shots and the question, six turns; the cut at 28 fits four turns before it",
            "other chat templates": "s1_cgvst.on(model) takes the template's own special tokens where [INST] is none "
            "of them, cuts by turns where 28 cuts nothing, and stops at what opens a turn; it says which",
            "instruction": "in the first turn",
            "evaluation": "battery.respond(model, **s1.respond) is the code's; Battery.score's exact match, with the "
            "true prefix, counts letter case and white space",
            "tasks": "three different sets of eight are in the released files; none is ours",
            "paper's formula and tables": "not known to us; the formula is the code's",
        }
    ),
    site_names=("mlp.neurons",),
    chats=MappingProxyType({"n_shots": 5, "max_tokens": 1300, "bos_eos": False}),
    cgvst=MappingProxyType(
        {
            "tokens": "special",
            "spans": ("[INST]", "[/INST]"),
            "variant": "row_sum",
            "site": "mlp.up",
            "groups": 28,
            "weight": 1.0,
            "aggregate": "sum_abs",
            "bos_eos": False,
            "max_tokens": 1300,
        }
    ),
    top=0.05,
    inhibit=MappingProxyType({"method": "zero", "positions": "all"}),
    amplify=MappingProxyType({"gain": 2.0, "positions": "all"}),
    respond=MappingProxyType({"max_new_tokens": 20, "stop": ("[INST]",)}),
)
"""Song et al. 2024: row sums of the up projection's gradient at the tokens of [INST] and [/INST]."""
