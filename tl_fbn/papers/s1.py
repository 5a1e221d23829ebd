"""Song et al. 2024 (EMNLP): task neurons by the gradient at special tokens (CGVST), inhibited and amplified.

::

    study = fbn.papers.s1.run(model, ["plural.json", "capital.json", "past.json"], "s1/", seed=0)

The protocol, on rows of task files (:class:`tl_fbn.Tasks`), networks found on one half and tested on the other:

1. five-shot chats; the score of a neuron is the released row sum of the up projection's gradient at special tokens; the
   top 5 % of all neurons are a task's neurons;
2. the same at all tokens, at the tokens of the answers, and at as many random tokens: what the choice of tokens does;
   and .2 % of all neurons in the place of 5 %, by the score as it is and less its largest value on any other task;
3. all of them silenced, and those at special tokens doubled, while every task is scored; beside each stand random
   networks of as many units in every layer, which the paper may have (its controls are not known to us);
4. how far the tasks' lists overlap, beside layer-matched chance: the released ones share a core;
5. the better score, as the last column: gradient times activation at the answers, less the largest on any other task,
   .2 % of all neurons (:func:`tl_fbn.task_networks`).

For a chat template without ``[INST]`` the template's own special tokens are taken, by turns
(:meth:`tl_fbn.papers.Preset.on`). Our choices: which tasks, log-likelihood of the answer beside exact match (given its
true beginning), fixed shots in the test half, so that their tokens are read once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, overload

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.scan.content_key import digest
from tl_fbn.analysis.networks.specificity import specific_scores
from tl_fbn.attribution.cgvst import cgvst
from tl_fbn.attribution.few_shot import few_shot_chats
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.task_set import CHAT, Tasks
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.intervention.studies.task_networks import cut_networks, task_networks
from tl_fbn.papers.conditions import control_losses, own_and_others, scored, silenced, strengthened
from tl_fbn.papers.paper_folder import PaperFolder
from tl_fbn.papers.paper_plan import PaperPlan, Step
from tl_fbn.papers.paper_study import PaperStudy, PaperTable, study_of
from tl_fbn.papers.preset import Preset
from tl_fbn.papers.s1_claims import BETTER, LARGE, SMALL, TOKENS, called, claims, overlap_table, token_table
from tl_fbn.papers.s1_settings import settings as settings
from tl_fbn.papers.task_input import read_tasks
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, UnitMap

LEAST_TASKS = 3  # "its own" is beside others, and two lists have one overlap
_BACKWARD = 2  # a backward pass costs about twice a forward pass


@overload
def run(
    model: HookedModel,
    tasks: Any,
    path: str | os.PathLike,
    *,
    seed: int,
    quick: bool = ...,
    plan: Literal[False] = ...,
    progress: bool = ...,
    say: Callable[[str], None] = ...,
) -> PaperStudy: ...
@overload
def run(
    model: HookedModel,
    tasks: Any,
    path: str | os.PathLike,
    *,
    seed: int,
    quick: bool = ...,
    plan: Literal[True],
    progress: bool = ...,
    say: Callable[[str], None] = ...,
) -> PaperPlan: ...
@checked
def run(
    model: HookedModel,
    tasks: Any,
    path: str | os.PathLike,
    *,
    seed: int,
    quick: bool = False,
    plan: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> PaperStudy | PaperPlan:
    """Run the protocol of Song et al. (2024): task neurons at special tokens, silenced and doubled.

    Args:
        model: A TransformerLens model in eval mode whose tokenizer has a chat template.
        tasks: Task files, a mapping of names to files or rows, or a :class:`tl_fbn.Tasks` made with
            ``template="chat"``; at least three tasks. Five shots are shown unless ``Tasks`` says otherwise.
        path: Folder that keeps every finished step; the same call goes on from there.
        seed: Seed of shots, of random tokens, of random networks and of intervals.
        quick: A small run to see that everything works: few items and controls, no claim.
        plan: Run nothing, and return what it will cost.
        progress: Show progress bars.
        say: A function that is called with a line of text at the start and end of every step.

    Returns:
        The study, or with ``plan=True`` a :class:`tl_fbn.papers.PaperPlan`.

    Raises:
        FileNotFoundError: A task file is not there.
        InputError: Fewer than three tasks, no chat template, or a folder of another run.
    """
    chosen = _checked_tasks(model, tasks, seed)
    used = settings.on(model)
    sizes = {"found_on": 8, "items": 8, "controls": 9} if quick else {"found_on": 40, "items": 20, "controls": 49}
    chats = _discovery_chats(model, chosen, used, sizes["found_on"], seed)
    battery = chosen.battery(model, n=sizes["items"])
    if plan:
        return _plan(model, chats, battery, sizes)
    about = {"paper": "s1", "quick": quick, "seed": seed, "tasks": list(chosen.names), **sizes}
    seen = digest([[name, list(of)] for name, of in chats.items()])
    folder = PaperFolder(path, model, "mlp.neurons", {**about, "chats": seen, "better": BETTER}, say)
    # a finished step reads its networks, and needs no scores
    scores = cache(lambda tokens: _scores(model, chats, used, tokens, seed, progress))
    found = {
        tokens: folder.step(f"networks-{tokens}", Atlas, lambda t=tokens: cut_networks(scores(t), used.top or 0.05))
        for tokens in TOKENS
    }
    small = {
        (tokens, how): folder.step(
            f"small-{tokens}-{how}", Atlas, lambda t=tokens, h=how: cut_networks(_selected(scores(t), h), BETTER)
        )
        for tokens in TOKENS
        for how in SMALL
    }
    better = folder.step("networks-better", Atlas, lambda: _better(model, chosen, sizes["found_on"], seed, progress))
    return _study(
        folder, model, battery, used, found, small, better, about | {"model": host.model_label(model)}, progress
    )


def _checked_tasks(model: HookedModel, tasks: Any, seed: int) -> Tasks:
    host.require_model(model)
    tokenizer = host.tokenizer_of(model)
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"{host.model_label(model)} has no chat template, and the protocol scores its special tokens. Give the "
            "tokenizer one (model.tokenizer.chat_template = ...), or score plain markers such as 'Q:' and 'A:' by "
            "fbn.cgvst(model, texts, positions=...)"
        )
    chosen = read_tasks(tasks, template=CHAT, seed=seed, least=LEAST_TASKS)
    if not chosen.is_chat:
        raise InputError('these tasks are shown as text, and the protocol needs chats; make them with template="chat"')
    return chosen


def _discovery_chats(model: HookedModel, tasks: Tasks, used: Preset, n: int, seed: int) -> dict[str, list]:
    """Chats of each task with shots drawn anew for every row, as the paper's options have them."""
    options = {**used.chats, "n_shots": tasks.shots}
    tokenizer = host.tokenizer_of(model)
    return {
        name: list(few_shot_chats(tasks.rows(name), n=n, seed=seed, tokenizer=tokenizer, **options))
        for name in tasks.names
    }


def _scores(
    model: HookedModel, chats: Mapping[str, list], used: Preset, tokens: str, seed: int, bar: bool
) -> dict[str, UnitMap]:
    """The released score of every task at some tokens."""
    options = {**used.cgvst, "tokens": tokens}
    if tokens != "special":  # the cut at the 28th token is of special ones
        options |= {"groups": "turns", "spans": used.cgvst["spans"] if tokens == "random" else None}
    return {name: cgvst(model, of, seed=seed, progress=bar, **options) for name, of in chats.items()}


def _selected(scores: Mapping[str, UnitMap], how: str) -> Mapping[str, UnitMap]:
    """Scores as they are, or less the largest on any other task."""
    return specific_scores(scores) if how == "least" else scores


def _better(model: HookedModel, tasks: Tasks, n: int, seed: int, bar: bool) -> Atlas:
    return task_networks(model, tasks, n=n, top=BETTER, seed=seed, halves=n >= 30, progress=bar)


def _study(
    folder: PaperFolder,
    model: HookedModel,
    battery: Battery,
    used: Preset,
    found: Mapping[str, Atlas],
    small: Mapping[tuple[str, str], Atlas],
    better: Atlas,
    about: dict[str, Any],
    bar: bool,
) -> PaperStudy:
    """Everything that is silenced and doubled, and what it says."""
    seed, n_controls, names = about["seed"], about["controls"], list(battery.tasks)
    lists = {f"{tokens}: {name}": network for tokens, of in found.items() for name, network in of.items()}
    lists |= {f"better: {name}": network for name, network in better.items()}
    lesions = scored(folder, "silenced", model, battery, lists, silenced, seed=seed, progress=bar)
    ablated = {f"{t}, {how}: {name}": network for (t, how), of in small.items() for name, network in of.items()}
    contrasted = scored(folder, "contrasted", model, battery, ablated, silenced, seed=seed, progress=bar)
    special = {name: found["special"][name] for name in names}
    gain = float(used.amplify["gain"])
    doubled = scored(
        folder, "doubled", model, battery, special, strengthened(gain), seed=seed, settings={"gain": gain}, progress=bar
    )
    drawn = {name: matched_controls(network, n_controls, seed=seed) for name, network in special.items()}
    options = {"seed": seed, "progress": bar}
    beside = control_losses(folder, "controls", model, battery, drawn, silenced, **options)
    beside_doubled = control_losses(folder, "controls-doubled", model, battery, drawn, strengthened(gain), **options)
    fair = {name: matched_controls(better[name], n_controls, seed=seed) for name in names}
    beside_better = control_losses(folder, "controls-better", model, battery, fair, silenced, **options)
    silent = own_and_others(called(lesions, "special"), names, beside)
    louder = own_and_others(doubled, names, beside_doubled)
    ours = own_and_others(called(lesions, "better"), names, beside_better)
    overlaps = overlap_table(special, seed)
    lists_at = {(one, LARGE): called(lesions, one) for one in TOKENS}
    lists_at |= {(one, SMALL[how]): called(contrasted, f"{one}, {how}") for one, how in small}
    tokens = token_table(lists_at, names)
    judgements = claims(silent, louder, ours, tokens, overlaps, doubled, about)
    shown = lesions.matrix([f"special: {name}" for name in names])
    shown["network"] = names
    fair_matrix = lesions.matrix([f"better: {name}" for name in names])
    fair_matrix["network"] = names
    nats = "Nats a token of the answer that a task (column) loses"
    tables = {
        "silenced": PaperTable(
            "Silencing the top 5 % at special tokens", f"{nats} when a task's neurons (row) are 0.", shown, "matrix"
        ),
        "networks": PaperTable(
            "Own task, worst other task, random networks",
            f"The same beside {n_controls} random networks of as many units in every layer, on the own task.",
            silent,
        ),
        "doubled": PaperTable(
            "Doubling them",
            "Losses when the activations are doubled: a negative loss is a gain. Controls are doubled alike.",
            louder,
        ),
        "tokens": PaperTable(
            "Which tokens find task neurons",
            "The released score at other tokens, and cut to fewer neurons, as it is and less its largest value on any "
            "other task (a contrast of tasks, which the paper lacks). Isolated: the own task loses at least .05 nats "
            "and three times what the worst other loses.",
            tokens,
        ),
        "overlap": PaperTable(
            "How far the tasks' lists overlap",
            "Jaccard of every two lists at special tokens, and of random ones with as many units in every layer. The "
            "released lists have .277 on average, beside .047.",
            overlaps,
        ),
        "better": PaperTable(
            "The better score: own less the largest other, at answers",
            f"{nats} when the {BETTER:.1%} of all neurons of largest specific score (row) are 0.",
            fair_matrix,
            "matrix",
        ),
        "better networks": PaperTable(
            "Its networks beside random ones", "As above, for the better score's networks.", ours
        ),
    }
    kept = {"neurons at special tokens": Atlas.from_networks(special), "networks of the better score": better}
    study = study_of(used, judgements, tables, kept, about)
    study.save(folder.inside("study.safetensors"))
    study.report(folder.inside("report.html"))
    return study


def _plan(model: HookedModel, chats: Mapping[str, list], battery: Battery, sizes: Mapping[str, int]) -> PaperPlan:
    """Tokens and seconds of every step, from one evaluation of the battery that is timed."""
    n_tasks = len(chats)
    per_run = sum(battery.sizes(model))
    started = time.perf_counter()
    battery.score(model)
    speed = per_run / (time.perf_counter() - started)
    layouts = Layouts(host.tokenizer_of(model))
    read = sum(len(layouts.of(chat).ids) for of in chats.values() for chat in of)
    gradients = (1 + _BACKWARD) * read * (len(TOKENS) + 1)
    n_lists = n_tasks * (len(TOKENS) * (1 + len(SMALL)) + 2)
    lesions = per_run * (3 + n_lists)
    controls = 3 * per_run * (1 + sizes["controls"])  # of each task, scored on its own items only
    counted = {"scores": gradients, "lesions": lesions, "random networks": controls}
    kept = 16 * sum(len(task.items) for task in battery.tasks.values()) * n_lists
    return PaperPlan("s1", [Step(name, n, n / speed, kept if name == "lesions" else 0) for name, n in counted.items()])
