"""What interventions cost: ``python -m tests.benchmarks.bench_intervention``.

Two threads, two idle cores, one run. A model of GPT-2 small's shape with random weights, hooks in every layer:

- generation with a key-value cache, bare and under interventions, and beside them what users write by hand
  (TransformerLens's own hooks, a mask, in place).
  Ratios are medians over interleaved repetitions of bare time / intervened time; the target is .92;
- entering and leaving a context (under 5 ms), hooks and memory after 500 uses;
- the MLPs of a model pruned to half its neurons (at least 1.6 times as fast; more in :mod:`.bench_prune`);
- a lesion study of 6 networks x 6 tasks x 100 controls on the demo model (under 5 minutes), beside what its evaluations
  take without a lesion.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import tl_fbn as fbn
from tests.benchmarks.bench_cgvst import gpt2
from tests.benchmarks.bench_prune import pruned_mlp_speed
from tests.benchmarks.lines import Line
from tests.helpers.models import bridged
from tests.helpers.recordings import blocks


def reference_of(space: fbn.UnitSpace) -> fbn.Recording:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(256, width)).astype(np.float32) for width in space.widths]
    return fbn.Recording.from_arrays([arrays], events=[blocks(["a"], 256)])


def by_hand(model: Any, network: fbn.Network) -> Any:
    """Zero a network as users do: a mask a layer, in place, in TransformerLens's own hooks."""
    masks = [torch.from_numpy(members) for members in network.by_layer()]

    def zero(layer: int) -> Any:
        def hook(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            tensor[..., masks[layer]] = 0
            return tensor

        return hook

    return model.hooks(fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", zero(layer)) for layer in range(len(masks))])


def generation(model: Any, network: fbn.Network, repeats: int, n_tokens: int) -> dict[str, float]:
    """Median of bare over intervened time, by intervention; pairs interleaved."""
    reference = reference_of(network.space)
    contexts = {
        "inhibit": lambda: fbn.inhibit(model, network),
        "inhibit, generated": lambda: fbn.inhibit(model, network, positions="generated"),
        "position_mean": lambda: fbn.inhibit(model, network, method="position_mean", reference=reference),
        "resample": lambda: fbn.inhibit(model, network, method="resample", reference=reference),
        "amplify": lambda: fbn.amplify(model, network, gain=1.5),
        "hooks by hand": lambda: by_hand(model, network),
    }
    ids = torch.randint(0, 50_000, (1, 32), generator=torch.Generator().manual_seed(0))

    def seconds(context: Any) -> float:
        with context:
            started = time.perf_counter()
            model.generate(ids, max_new_tokens=n_tokens, do_sample=False, stop_at_eos=False, verbose=False)
            return time.perf_counter() - started

    made = {name: make() for name, make in contexts.items() if name != "hooks by hand"}
    seconds(nullcontext())
    ratios: dict[str, list[float]] = {name: [] for name in contexts}
    for _ in range(repeats):
        for name in contexts:
            bare = seconds(nullcontext())
            ratios[name].append(bare / seconds(made.get(name) or by_hand(model, network)))
    return {name: statistics.median(found) for name, found in ratios.items()}


def contexts(model: Any, network: fbn.Network) -> dict[str, Any]:
    """Seconds to enter and leave, and what 500 uses leave behind."""
    found: dict[str, Any] = {}
    ids = torch.zeros(1, 4, dtype=torch.long)
    for name, made in (
        ("inhibit", fbn.inhibit(model, network)),
        ("inhibit, generated", fbn.inhibit(model, network, positions="generated")),
    ):
        took = []
        for _ in range(50):
            started = time.perf_counter()
            with made:
                pass
            took.append(time.perf_counter() - started)
        found[f"enter and leave, ms: {name}"] = 1000 * statistics.median(took)
    with torch.no_grad():
        for use in range(520):
            if use == 20:
                gc.collect()
                tensors, hooks, memory = live_tensors(), hook_count(model), resident()
            with fbn.inhibit(model, network, positions="last"), fbn.amplify(model, network, gain=2.0):
                if use % 10 == 0:
                    model(ids)
    gc.collect()
    found["tensors more after 500 uses"] = live_tensors() - tensors
    found["hooks more after 500 uses"] = hook_count(model) - hooks
    found["MB more after 500 uses"] = resident() - memory
    return found


def live_tensors() -> int:
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def hook_count(model: Any) -> int:
    modules = {id(m): m for root in (model, model.original_model) for m in root.modules()}.values()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def study(n_items: int) -> dict[str, float]:
    """Seconds of 6 networks x 6 tasks x 100 controls on the demo model, and of as many evaluations without a lesion."""
    model = fbn.demo.load_model()
    tasks = ["reverse", "sort", "shift", "upper", "count", "add"]
    battery = fbn.demo.battery(n=n_items).select(tasks)
    space, rng = fbn.Scanner(model).space, np.random.default_rng(0)
    networks = {
        task: fbn.Network.from_indices(space, np.sort(rng.choice(space.n_units, space.n_units // 20, replace=False)))
        for task in tasks
    }
    plan = fbn.plan_lesions(model, networks, battery)
    started = time.perf_counter()
    fbn.lesion_study(model, networks, battery, seed=0, progress=False)
    took = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(20):
        battery.score(model)
    bare = (time.perf_counter() - started) / 20 * (1 + plan.lesions)
    return {"planned": plan.seconds, "study": took, "evaluations without a lesion": bare}


def lines(report: dict[str, Any]) -> list[Line]:
    """The report as lines of the common table."""
    found = []
    for name, ratio in report.get("generation", {}).items():
        target = "" if name == "hooks by hand" else ">= 0.92"
        found.append(
            Line(
                "intervention",
                f"generation: {name}",
                other="bare generate",
                ratio=ratio,
                means="rate / bare",
                target=target,
            )
        )
    for name, value in report.get("contexts", {}).items():
        target = "<= 5" if "ms" in name else "<= 0" if "MB" not in name else ""
        found.append(Line("intervention", name, ratio=value, means="as measured", target=target))
    if "prune" in report:
        took = report["prune"]
        for what, least in (("MLPs", ">= 1.6"), ("forward", "")):
            one, other = took[f"{what}, pruned 4x128"], took[f"{what} 4x128"]
            name = f"pruned to half, {what} of 4 x 128 tokens"
            found.append(Line("intervention", name, one, "s", "intact", other, other / one, "intact / pruned", least))
    if "study" in report:
        one, other = report["study"]["study"], report["study"]["evaluations without a lesion"]
        what = "lesion study, 6 networks x 6 tasks x 100 controls"
        found.append(
            Line("intervention", what, one, "s", "bare evaluations", other, one / other, "ours / limit", "<= 1.5")
        )
        found.append(Line("intervention", what, one, "s", ratio=one / 300, means="of 5 minutes", target="<= 1"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--only", choices=("generation", "contexts", "prune", "study"), default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    report: dict[str, Any] = {}

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    if wanted("generation") or wanted("contexts"):
        model = bridged(gpt2()).eval()
        space = fbn.Scanner(model).space
        network = fbn.Network(space, np.random.default_rng(0).random(space.n_units) < 0.05)
    if wanted("generation"):
        print(f"generation with a key-value cache, {options.tokens} tokens: intervened rate / bare rate (target .92)")
        report["generation"] = generation(model, network, options.repeats, options.tokens)
        for name, ratio in report["generation"].items():
            print(f"| {name} | {ratio:.3f} |")
    if wanted("contexts"):
        report["contexts"] = contexts(model, network)
        for name, value in report["contexts"].items():
            print(f"| {name} | {value:.3g} |")
    if wanted("prune"):
        report["prune"] = pruned_mlp_speed(shapes=((4, 128),))
        for name, value in report["prune"].items():
            print(f"| pruned to half: {name} | {value:,.4g} |")
    if wanted("study"):
        report["study"] = study(options.items)
        for name, value in report["study"].items():
            print(f"| lesion study 6 x 6 x 100, {options.items} items a task: {name} | {value:.1f} s |")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
