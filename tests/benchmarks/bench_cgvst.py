"""CGVST against the released formula's own way: ``python -m tests.benchmarks.bench_cgvst``.

One run, two threads, medians of interleaved repetitions, on a model of GPT-2 small's shape with random weights. The
reference is the formula as
released, written anew: a forward pass of the plain Hugging Face model, the loss at the scored positions, a backward
pass with the gradients of all
parameters, and the row sums of the up projections' gradients. It needs one pass an item (magnitudes are taken before
items are summed); the base
of the ratios is the cheaper one pass over the whole batch, which cannot tell items apart.

Peak memory is that of a process of its own for each variant, less the peak of a forward pass without gradients in the
same process.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.lines import Line
from tests.benchmarks.measure import apart, medians, peak_memory
from tests.helpers.models import bridged

SHAPES = {"8x128": (8, 128), "1x1024": (1, 1024)}
N_SPECIAL = {128: 21, 1024: 42}  # three and six turns of seven special tokens


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(attn_implementation="eager")).eval()
    with torch.no_grad():
        for block in model.transformer.h:  # as initialised, the inputs of the MLPs sum to zero
            block.ln_2.weight.uniform_(0.5, 1.5)
            block.ln_2.bias.normal_(0, 0.1)
    return model


def items_of(shape: str, tokens: str) -> tuple[list[list[int]], list[list[int]]]:
    n_items, n_tokens = SHAPES[shape]
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50_000, (n_items, n_tokens)).tolist()
    scored = range(1, n_tokens)
    if tokens == "special":
        scored = np.linspace(1, n_tokens - 1, N_SPECIAL[n_tokens]).astype(int)
    return ids, [[int(at) for at in scored]] * n_items


def reference(model: Any, ids: list[list[int]], positions: list[list[int]], *, together: bool) -> np.ndarray:
    """The released formula; ``together``: one pass over the batch, whose magnitudes mix the items."""
    total = 0.0
    parts = [(ids, positions)] if together else [([one], [at]) for one, at in zip(ids, positions, strict=True)]
    for texts, scored in parts:
        model.zero_grad(set_to_none=True)
        tokens = torch.tensor(texts)
        logits = model(tokens).logits
        before = torch.tensor(scored[0]) - 1
        rows, targets = logits[:, before].flatten(0, 1), tokens[:, before + 1].flatten()
        (torch.nn.functional.cross_entropy(rows, targets) * len(texts)).backward()
        sums = [block.mlp.c_fc.weight.grad.sum(0) for block in model.transformer.h]  # (input, neuron)
        total = total + torch.cat(sums).abs().double().numpy()
    return np.asarray(total)


def ours(model: Any, ids: list[list[int]], positions: list[list[int]], **options: Any) -> np.ndarray:
    settings = {"variant": "row_sum", "groups": None, "progress": False} | options
    return fbn.cgvst(model, ids, positions=positions, **settings).values


def memory(variant: str, shape: str, tokens: str) -> float:
    """MB beyond a forward pass without gradients, in this process."""
    ids, positions = items_of(shape, tokens)
    plain = gpt2()
    model = bridged(plain) if variant == "ours" else plain
    with torch.no_grad():
        model(torch.tensor(ids))
    before = peak_memory()
    if variant == "ours":
        ours(model, ids, positions)
    else:
        reference(model, ids, positions, together=True)
    return peak_memory() - before


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    for name, part in report.items():
        ours, theirs = part["seconds"]["ours"], part["seconds"]["batch"]
        peer = "weight gradients, one batch"
        found.append(Line("cgvst", name, ours, "s", peer, theirs, ours / theirs, "ours / theirs", "<= 0.8"))
        ours, theirs = part["memory"]["ours"], part["memory"]["reference"]
        target = "<= 0.6" if name.startswith("8x128") else ""  # the other shape was asked to be reported
        what = f"{name}: memory beyond a forward pass"
        found.append(Line("cgvst", what, ours, "MB", peer, theirs, ours / theirs, "ours / theirs", target))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", nargs=3, metavar=("VARIANT", "SHAPE", "TOKENS"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.memory:
        print(json.dumps({"mb": memory(*options.memory)}))
        return
    report: dict[str, Any] = {}
    plain, model = gpt2(), bridged(gpt2())
    print(
        "| items x tokens | scored | released way, batch | released way, by item | no-grad forward | ours | ours, row_l2 | ours / batch | ours / by item | memory, released way | memory, ours | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for tokens in ("special", "all"):
            ids, positions = items_of(shape, tokens)
            started = time.perf_counter()
            exact = reference(plain, ids, positions, together=False)
            by_item = time.perf_counter() - started
            error = np.abs(ours(model, ids, positions) - exact).max() / exact.max()
            assert error < 1e-4, error
            plain.zero_grad(set_to_none=True)

            def forward(ids: list[list[int]] = ids) -> None:
                with torch.no_grad():
                    plain(torch.tensor(ids))

            variants = {
                "batch": lambda i=ids, p=positions: reference(plain, i, p, together=True),
                "forward": forward,
                "ours": lambda i=ids, p=positions: ours(model, i, p),
                "l2": lambda i=ids, p=positions: ours(model, i, p, variant="row_l2"),
            }
            took = medians(variants, options.repeats)
            mb = {name: apart("bench_cgvst", "--memory", name, shape, tokens)["mb"] for name in ("reference", "ours")}
            report[f"{shape}, {len(positions[0])} scored"] = {"seconds": took, "by item": by_item, "memory": mb}
            seconds = [took["batch"], by_item, took["forward"], took["ours"], took["l2"]]
            cells = [f"{each:.2f} s" for each in seconds]
            ratios = [f"{took['ours'] / each:.2f}" for each in (took["batch"], by_item)]
            print(
                f"| {shape} | {tokens}, {len(positions[0])} | {' | '.join(cells)} | {' | '.join(ratios)} | {mb['reference']:.0f} MB | "
                f"{mb['ours']:.0f} MB | {mb['ours'] / mb['reference']:.2f} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
