"""Published benchmarks under an intervention, by way of the lm-evaluation-harness.

::

    # pip install "transformer-lens[evals]"
    fbn.behaviour.evaluate_harness(model, ["lambada_openai", "arc_easy"], interventions={"no sort": fbn.inhibit(model, network)}, limit=100)

TransformerLens's extra ``evals`` installs the harness (Gao et al. 2021) and its documentation hands over ``bridge.original_model``, the Hugging Face model inside the
bridge, whose modules the bridge's hooks sit in: what changes an activation of the bridge changes the benchmark. That is not taken on trust. Before
each run, with its intervention in force, the inner model must give a short probe the same log-probabilities as the bridge, or this raises.

Likelihoods are read in plain passes, where positions called "generated" are none; tasks that generate do generate. A native bridge and HookedTransformer have no such model inside; score a :class:`tl_fbn.Battery` there. The harness brings its own prompts, metrics and downloads;
whether a network was found on a benchmark's items is not checked here, as it is for a battery. The tokenizer is copied, for the harness may add tokens.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of
from tl_fbn.errors import InputError, MissingPackageError
from tl_fbn.units.prose import listed
from tl_fbn.units.result import TableResult

BASELINE = "none"
_COLUMNS = ("intervention", "task", "metric", "filter", "value", "stderr", "n", "baseline", "change")


@dataclass(frozen=True, eq=False)
class HarnessEvaluation(TableResult, step="answers"):
    """One line an intervention, task (or group), metric and filter: intervention ("none" first), task, metric, filter, value,
    stderr (NaN where the harness gives none), n (items; of groups unknown, -1), baseline (the value under none) and change (value
    minus baseline)."""

    def _methods_(self) -> list[str]:
        tasks = self.provenance.get("tasks") or []
        states = self.provenance.get("interventions") or []
        return [
            f"Benchmarks {listed(tasks)} of the lm-evaluation-harness were run untouched and under {listed(states)}; prompts, metrics and standard errors are the "
            "harness's own."
        ]

    def __repr__(self) -> str:
        return f"HarnessEvaluation of {self.table['task'].nunique()} tasks under {self.table['intervention'].nunique()} states"


def evaluate_harness(
    model: HookedModel,
    tasks: str | Sequence[Any],
    *,
    interventions: Mapping[str, AbstractContextManager[Any]] | None = None,
    batch_size: int | str = 8,
    model_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> HarnessEvaluation:
    """Run benchmarks of the lm-evaluation-harness, untouched and under each intervention.

    ::

        fbn.behaviour.evaluate_harness(model, ["arc_easy"], interventions={"no add": fbn.inhibit(model, network)}, limit=100)

    Args:
        model: A TransformerLens bridge around a Hugging Face model, with a tokenizer, in eval mode.
        tasks: The harness's names of tasks or groups, or its task objects.
        interventions: Name to what is in force while everything is run again: :func:`tl_fbn.inhibit` and its like, or any context that can be entered again.
        batch_size: Sequences in each of the harness's passes; ``"auto"`` is the harness's own search.
        model_options: For its Hugging Face wrapper ``HFLM``, e.g. ``{"add_bos_token": True, "max_length": 512}``.
        **options: For its ``simple_evaluate``, e.g. ``limit=100, num_fewshot=5, apply_chat_template=True``.

    Returns:
        One line an intervention, task (or group), metric and filter; :class:`HarnessEvaluation` says which columns.

    Raises:
        ImportError: The harness is not installed.
        InputError: A model the harness cannot run, an intervention on another model or one that does not reach the inner model, a cache of answers, or an
            intervention called "none".
    """
    interventions = dict(interventions or {})
    _check(model, interventions, options)
    wrapper, simple_evaluate = _harness()
    asked = [tasks] if isinstance(tasks, str) else list(tasks)
    probe = _log_probs(model)
    lm = wrapper(
        pretrained=inner_model(model),
        tokenizer=copy.deepcopy(tokenizer_of(model)),
        batch_size=batch_size,
        **dict(model_options or {}),
    )
    if not _agree(model, probe, _log_probs(model)):
        raise InputError("wrapping the model for the harness changed what it predicts; run this benchmark by hand")
    lines: list[dict[str, Any]] = []
    for name, intervention in {BASELINE: nullcontext(), **interventions}.items():
        with intervention:
            _check_reaches(model, name)
            found = simple_evaluate(model=lm, tasks=asked, **options)
        lines.extend({"intervention": name, **line} for line in _lines(found or {}))
    untouched = {_key(line): line["value"] for line in lines if line["intervention"] == BASELINE}
    for line in lines:
        line["baseline"] = untouched.get(_key(line), float("nan"))
        line["change"] = line["value"] - line["baseline"]
    settings = {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}
    about = {"tasks": [str(task) for task in asked], "interventions": list(interventions), **settings}
    return HarnessEvaluation(pd.DataFrame(lines, columns=list(_COLUMNS)), about)


def _key(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["task"], line["metric"], line["filter"]


def _harness() -> tuple[Any, Any]:
    """The harness's wrapper of a Hugging Face model, and its entry."""
    try:
        simple_evaluate = importlib.import_module("lm_eval").simple_evaluate
        wrapper = importlib.import_module("lm_eval.models.huggingface").HFLM
    except (ImportError, AttributeError) as error:
        raise MissingPackageError(
            f'benchmarks need the lm-evaluation-harness ({error}); pip install "transformer-lens[evals]", and where its Hugging Face wrapper is missing pip install "lm-eval[hf]"'
        ) from error
    return wrapper, simple_evaluate


def _check(model: HookedModel, interventions: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    host.require_model(model)
    host.require_eval(model, "a benchmark")
    inner = inner_model(model)
    if getattr(inner, "config", None) is None or not hasattr(inner, "generate"):
        raise InputError(
            f"the harness runs Hugging Face models, and this {type(model).__name__} has none inside; give TransformerBridge.boot_transformers(name), or score a Battery"
        )
    if tokenizer_of(model) is None:
        raise InputError("the harness shows texts, and this model has no tokenizer; boot it with tokenizer=")
    if options.get("use_cache"):
        raise InputError(
            "use_cache= would serve the untouched model's answers under an intervention; leave it out (cache_requests= is fine)"
        )
    if BASELINE in interventions:
        raise InputError(f"an intervention is called {BASELINE!r}, as the untouched model is; give it another name")
    for name, intervention in interventions.items():
        other = getattr(intervention, "model", model)
        if other is not model:
            raise InputError(
                f"intervention {name!r} acts on another model than the one evaluated; make it for this one"
            )


def _check_reaches(model: HookedModel, name: str) -> None:
    bridge = _log_probs(model)
    inner = _log_probs(model, inner=True)
    if not _agree(model, bridge, inner):
        raise InputError(
            f"under intervention {name!r} the Hugging Face model inside the bridge predicts otherwise than the bridge (by up to {float((bridge - inner).abs().max()):.2g} nats), so a benchmark would not measure it; score a Battery"
        )


def _agree(model: HookedModel, first: torch.Tensor, second: torch.Tensor) -> bool:
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 5e-2
    return torch.allclose(first, second, atol=tolerance, rtol=tolerance, equal_nan=True)


@torch.no_grad()
def _log_probs(model: HookedModel, *, inner: bool = False) -> torch.Tensor:
    """Of the first tokens of the vocabulary, read as a text."""
    size = host.vocabulary_size(model) or 8
    ids = torch.tensor([[i * 7 % size for i in range(1, 9)]], device=host.model_device(model))
    logits = inner_model(model)(ids).logits if inner else model(ids)
    return logits.float().log_softmax(-1).cpu()


def _lines(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The harness's results, a line a metric: its keys are "metric,filter", with "metric_stderr,filter" beside."""
    tables = {**found.get("results", {}), **found.get("groups", {})}
    counts = found.get("n-samples", {})
    lines = []
    for task, held in tables.items():
        for key, value in held.items():
            metric, comma, rest = key.partition(",")
            if not comma or metric.endswith("_stderr") or isinstance(value, (str, Mapping)):
                continue
            stderr = held.get(f"{metric}_stderr,{rest}", float("nan"))
            lines.append(
                {
                    "task": task,
                    "metric": metric,
                    "filter": rest,
                    "value": float(value),
                    "stderr": float("nan") if isinstance(stderr, str) or stderr is None else float(stderr),
                    "n": int(counts.get(task, {}).get("effective", -1)),
                }
            )
    return lines
