"""Published benchmarks under an intervention, by way of the lm-evaluation-harness (Gao et al. 2021).

The harness is an optional package: ``pip install "transformer-lens[evals]"``. It runs Hugging Face models. Inside a
TransformerLens bridge there is one (``bridge.original_model``), and the bridge's hooks sit in its modules, so that what
changes an activation of the bridge changes the benchmark. This is not taken on trust: before each run, with its
intervention in force, the inner model must give a short probe text the same log-probabilities as the bridge; otherwise
an InputError is raised.

Likelihoods are read in plain passes, in which no position counts as "generated"; tasks that generate text do generate.
The harness brings its own prompts, metrics, standard errors and downloads. Unlike for a battery, nothing checks whether
a network was found on the items of a benchmark. The harness may add tokens to a tokenizer, and therefore gets a copy.

A TransformerLens model without a Hugging Face model inside (a native bridge, HookedTransformer) cannot be run here;
score a :class:`tl_fbn.Battery` on it.

Cost: the harness's own run, once untouched and once for each intervention.
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
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.errors import InputError, MissingPackageError
from tl_fbn.signatures import checked
from tl_fbn.units.prose import listed
from tl_fbn.units.result import TableResult

BASELINE = "none"
_COLUMNS = ("intervention", "task", "metric", "filter", "value", "stderr", "n", "baseline", "change")


@dataclass(frozen=True, eq=False)
class HarnessEvaluation(TableResult, step="answers"):
    """Results of benchmarks, untouched and under interventions; :func:`evaluate_harness` measures them.

    >>> columns = ["intervention", "task", "metric", "filter", "value", "stderr", "n", "baseline", "change"]
    >>> untouched = ["none", "arc_easy", "acc", "none", 0.61, 0.05, 100, 0.61, 0.0]
    >>> lesioned = ["no sort", "arc_easy", "acc", "none", 0.58, 0.05, 100, 0.61, -0.03]
    >>> benchmarks = fbn.behaviour.HarnessEvaluation(pd.DataFrame([untouched, lesioned], columns=columns))
    >>> benchmarks
    HarnessEvaluation of 1 tasks under 2 states
    >>> benchmarks.table[["intervention", "task", "metric", "value", "change"]]
      intervention      task metric  value  change
    0         none  arc_easy    acc   0.61    0.00
    1      no sort  arc_easy    acc   0.58   -0.03

    Args:
        table: One line an intervention, task (or group of tasks), metric and filter: intervention ("none" first, the
            untouched model), task, metric, filter (how the harness picks the answer out of the output), value, stderr
            (NaN where the harness gives none), n (items; -1 for groups, where it is unknown), baseline (value of the
            untouched model) and change (value minus baseline).
        provenance: Tasks, interventions, and those options of the harness that are numbers or text.
    """

    def _methods_(self) -> list[str]:
        tasks = self.provenance.get("tasks") or []
        states = self.provenance.get("interventions") or []
        return [
            f"Benchmarks {listed(tasks)} of the lm-evaluation-harness were run untouched and under {listed(states)}; "
            "prompts, metrics and standard errors are the harness's own."
        ]

    def __repr__(self) -> str:
        tasks = self.table["task"].nunique()
        return f"HarnessEvaluation of {tasks} tasks under {self.table['intervention'].nunique()} states"


@checked
@serves_one_thread("a benchmark")
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

        silenced = {"no sort": fbn.inhibit(model, network)}
        fbn.behaviour.evaluate_harness(model, ["arc_easy", "lambada_openai"], interventions=silenced, limit=100)

    Args:
        model: A TransformerLens bridge around a Hugging Face model, with a tokenizer, in eval mode.
        tasks: Name of one of the harness's tasks or groups, or a list of such names or of its task objects.
        interventions: Name to an intervention that is in force while everything is run again: that of
            :func:`tl_fbn.inhibit` and its like, or any context manager that can be entered more than once. None runs
            the untouched model only.
        batch_size: Number of sequences in each of the harness's passes; ``"auto"`` lets the harness search for one.
        model_options: Options of the harness's wrapper of Hugging Face models, ``HFLM``, such as
            ``{"add_bos_token": True, "max_length": 512}``.
        **options: Options of the harness's ``simple_evaluate``, such as ``limit=100``, ``num_fewshot=5``,
            ``apply_chat_template=True``.

    Returns:
        One line an intervention, task (or group), metric and filter, with the change against the untouched model.

    Raises:
        ImportError: The harness is not installed.
        InputError: A model that the harness cannot run, an intervention on another model or one that does not reach the
            Hugging Face model, ``use_cache`` (a cache would serve the untouched model's answers), or an intervention
            called "none".
    """
    interventions = dict(interventions or {})
    _require_runnable(model, interventions, options)
    wrapper_class, simple_evaluate = _import_harness()
    task_list = [tasks] if isinstance(tasks, str) else list(tasks)
    before_wrapping = _probe_log_probs(model)
    wrapped = wrapper_class(
        pretrained=inner_model(model),
        tokenizer=copy.deepcopy(tokenizer_of(model)),  # the harness may add a padding token to it
        batch_size=batch_size,
        **dict(model_options or {}),
    )
    # the wrapper may tie weights or change the mode of the model it is given
    if not _predictions_agree(model, before_wrapping, _probe_log_probs(model)):
        raise InputError("wrapping the model for the harness changed what it predicts; run this benchmark by hand")
    lines: list[dict[str, Any]] = []
    for name, intervention in {BASELINE: nullcontext(), **interventions}.items():
        with intervention:
            _require_reach(model, name)
            results = simple_evaluate(model=wrapped, tasks=task_list, **options)
        # the harness returns None in all processes of a launcher but the first
        lines.extend({"intervention": name, **line} for line in _metric_lines(results or {}))
    untouched = {_metric_key(line): line["value"] for line in lines if line["intervention"] == BASELINE}
    for line in lines:
        line["baseline"] = untouched.get(_metric_key(line), float("nan"))
        line["change"] = line["value"] - line["baseline"]
    # options that a file can hold; others, such as callbacks, are left out of the provenance
    settings = {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}
    about = {"tasks": [str(task) for task in task_list], "interventions": list(interventions), **settings}
    about["model_dtype"] = host.number_type(model)
    return HarnessEvaluation(pd.DataFrame(lines, columns=list(_COLUMNS)), about)


def _metric_key(line: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a value is compared by between the untouched model and an intervention."""
    return line["task"], line["metric"], line["filter"]


def _import_harness() -> tuple[Any, Any]:
    """The harness's class that wraps a Hugging Face model, and its function that runs tasks."""
    try:
        simple_evaluate = importlib.import_module("lm_eval").simple_evaluate
        wrapper = importlib.import_module("lm_eval.models.huggingface").HFLM
    except (ImportError, AttributeError) as error:
        raise MissingPackageError(
            f'benchmarks need the lm-evaluation-harness ({error}); pip install "transformer-lens[evals]", and where '
            'its Hugging Face wrapper is missing pip install "lm-eval[hf]"'
        ) from error
    return wrapper, simple_evaluate


def _require_runnable(model: HookedModel, interventions: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raise for a model, interventions or options that the harness cannot run, before it is imported."""
    host.require_model(model)
    host.require_eval(model, "a benchmark")
    inner = inner_model(model)
    if getattr(inner, "config", None) is None or not hasattr(inner, "generate"):
        raise InputError(
            f"the harness runs Hugging Face models, and this {type(model).__name__} has none inside; give "
            "TransformerBridge.boot_transformers(name), or score a Battery"
        )
    if tokenizer_of(model) is None:
        raise InputError("the harness shows texts, and this model has no tokenizer; boot it with tokenizer=")
    # the harness's cache knows a request by its text and settings, which an intervention does not change
    if options.get("use_cache"):
        raise InputError(
            "use_cache= would serve the untouched model's answers under an intervention; leave it out (cache_requests= "
            "is fine)"
        )
    if BASELINE in interventions:
        raise InputError(f"an intervention is called {BASELINE!r}, as the untouched model is; give it another name")
    for name, intervention in interventions.items():
        intervened = getattr(intervention, "model", model)  # any context manager will do; not all know their model
        if intervened is not model:
            raise InputError(
                f"intervention {name!r} acts on another model than the one evaluated; make it for this one"
            )


def _require_reach(model: HookedModel, name: str) -> None:
    """Raise if the Hugging Face model predicts otherwise than the bridge, under the intervention in force."""
    bridge = _probe_log_probs(model)
    inner = _probe_log_probs(model, inner=True)
    if not _predictions_agree(model, bridge, inner):
        raise InputError(
            f"under intervention {name!r} the Hugging Face model inside the bridge predicts otherwise than the bridge "
            f"(by up to {float((bridge - inner).abs().max()):.2g} nats), so a benchmark would not measure it; score a "
            "Battery"
        )


def _predictions_agree(model: HookedModel, first: torch.Tensor, second: torch.Tensor) -> bool:
    tolerance = host.rounding_tolerance(model)  # nats
    return torch.allclose(first, second, atol=tolerance, rtol=tolerance, equal_nan=True)


@torch.no_grad()
def _probe_log_probs(model: HookedModel, *, inner: bool = False) -> torch.Tensor:
    """(1, pos, vocabulary) log-probabilities for a probe text, of the bridge or of the model inside it."""
    size = host.vocabulary_size(model) or 8
    # eight token ids, 7 apart: any text will do, for both models read the same one
    ids = torch.tensor([[i * 7 % size for i in range(1, 9)]], device=host.model_device(model))
    logits = inner_model(model)(ids).logits if inner else model(ids)
    return logits.float().log_softmax(-1).cpu()


def _metric_lines(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The harness's results as one line a metric, of tasks and groups."""
    tables = {**results.get("results", {}), **results.get("groups", {})}
    counts = results.get("n-samples", {})
    lines = []
    for task, values in tables.items():
        # keys are "metric,filter" and "metric_stderr,filter"; others, such as "alias", describe the task
        for key, value in values.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr") or isinstance(value, (str, Mapping)):
                continue
            # "N/A" where the harness computed none
            stderr = values.get(f"{metric}_stderr,{filter_name}", float("nan"))
            lines.append(
                {
                    "task": task,
                    "metric": metric,
                    "filter": filter_name,
                    "value": float(value),
                    "stderr": float("nan") if isinstance(stderr, str) or stderr is None else float(stderr),
                    "n": int(counts.get(task, {}).get("effective", -1)),
                }
            )
    return lines
