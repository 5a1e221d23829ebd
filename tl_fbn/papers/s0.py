"""Liu et al. 2025: functional networks by ICA, and what masking and keeping them does.

::

    study = fbn.papers.s0.run(model, ["plural.json", "capital.json", "past.json"], "s0/", seed=0)

The protocol, on rows of task files (:class:`tl_fbn.Tasks`), networks found on one half and tested on the other:

1. temporal ICA of the outputs of all MLPs, raw values, every token of the prompts; a network is where the z of the
   loading is at least 3.6, one-sided (the paper's settings, by which signs are left to chance);
2. how often the ten networks come back in single prompts that they were not found on, beside shuffled ones;
3. the union of 10, 64 and 128 networks set to zero, and everything else set to zero, while the tasks are scored; every
   one of the ten alone, silenced and with 1 added (the released amplification);
4. beside them what the paper lacks: random masks matched by layer and by variance, the union without its five units of
   largest variance, these five alone, and units about first tokens alone (:mod:`.s0_masks`);
5. functional connectivity of the ten;
6. the corrected analysis as the last column: units on a robust scale, no first tokens, two-sided, stable networks only;
7. pruning to 80 % of the parameters by the later paper's settings, with and without bias compensation, beside random
   neurons of the same layers.

Ours, where the paper is silent or fine-tunes: tasks of word pairs behind five shots in place of GLUE, exact match and
log-likelihood of the answer in place of parsed answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

from tl_fbn.acquisition.design.block_design import BlockDesign, block_design
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan.content_key import digest
from tl_fbn.acquisition.scan.scanner import Scanner
from tl_fbn.analysis.ica.find_networks import find_networks
from tl_fbn.analysis.networks.connectivity import Connectivity, connectivity
from tl_fbn.analysis.networks.recurrence import Recurrence, recurrence
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.behaviour.task_set import Tasks
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.papers import s0_claims, s0_pruning, s0_tables
from tl_fbn.papers.conditions import added, kept, scored, silenced
from tl_fbn.papers.paper_folder import PaperFolder
from tl_fbn.papers.paper_plan import PaperPlan, Step
from tl_fbn.papers.paper_study import PaperStudy, study_of
from tl_fbn.papers.s0_masks import Variances, controls_of, masks_of, of_share
from tl_fbn.papers.s0_settings import canica as canica
from tl_fbn.papers.s0_settings import fingerprint as fingerprint
from tl_fbn.papers.s0_settings import pruning as pruning
from tl_fbn.papers.s0_settings import settings as settings
from tl_fbn.papers.task_input import read_tasks
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network

SITE = "mlp.out"
SHARES = (0.1, 0.5)  # of all units that are kept beside the unions
CORRECTED = 16  # networks of the corrected analysis
_STABLE = 0.7  # Iq from which one of its networks counts


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run has.

    Args:
        networks: Numbers of networks.
        cycles: Cycles of the design that networks are found on: prompts of every task, in runs of two.
        items: Held-out items of each task.
        controls: Random masks of each kind, matched by layer or variance, beside the unions that claims are about.
        few: Random masks beside all else: larger unions, those that are kept alone, every single network; and uniform
            masks, of which the paper has one.
        n_null: Shuffles of the recurrence.
    """

    networks: tuple[int, ...]
    cycles: int
    items: int
    controls: int
    few: int
    n_null: int


FULL = Sizes((10, 64, 128), 3, 12, 19, 5, 99)
QUICK = Sizes((3, 6), 1, 4, 3, 2, 19)


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
    """Run the protocol of Liu et al. (2025): networks by ICA, masked, kept and amplified.

    Args:
        model: A TransformerLens bridge in eval mode.
        tasks: Task files, a mapping of names to files or rows, or a :class:`tl_fbn.Tasks`; at least two tasks. Five
            shots are shown unless ``Tasks`` says otherwise.
        path: Folder that keeps every finished step; the same call goes on from there.
        seed: Seed of the order of prompts, of shuffles, random masks and intervals. The decomposition has the paper's.
        quick: A small run to see that everything works: few networks, items and masks, no claim.
        plan: Run nothing, and return what it will cost.
        progress: Show progress bars.
        say: A function that is called with a line of text at the start and end of every step.

    Returns:
        The study, or with ``plan=True`` a :class:`tl_fbn.papers.PaperPlan`.

    Raises:
        FileNotFoundError: A task file is not there.
        InputError: Fewer than two tasks, too few rows for two recordings, or a folder of another run.
    """
    host.require_model(model)
    shown = read_tasks(tasks, seed=seed, least=2, head="drawn")
    asked = read_tasks(tasks, seed=seed, least=2, head="fixed")
    sizes = QUICK if quick else FULL
    battery = asked.battery(model, n=sizes.items)
    designs = _designs(shown, sizes, seed)
    dtype = "bfloat16" if host.number_type(model) == "bfloat16" else "float32"
    scanners = {site: Scanner(model, site=site, dtype=dtype, surprisal=False) for site in (SITE, "mlp.neurons")}
    if plan:
        return _plan(model, scanners, designs, battery, sizes)
    about = {"paper": "s0", "quick": quick, "seed": seed, "tasks": list(asked.names), "items": sizes.items}
    about |= {"controls": sizes.controls, "few": sizes.few, "networks": list(sizes.networks), "cycles": sizes.cycles}
    seen = digest([[one.conditions, one.schedule] for one in designs.values()])
    folder = PaperFolder(path, model, SITE, {**about, "prompts": seen, "dtype": dtype}, say)
    say("recordings of the discovery half")
    found, other = (
        scanners[SITE].scan(designs[name], folder.inside("recordings", name), progress=progress)
        for name in ("found", "other")
    )
    about["model"] = host.model_label(model)
    atlases = {
        n: folder.step(f"networks-{n}", Atlas, lambda k=n: _networks(found, k, progress)) for n in sizes.networks
    }
    few = atlases[sizes.networks[0]]
    again = folder.step("recurrence", Recurrence, lambda: _recurrence(other, few, sizes, seed, progress))
    together = folder.step("connectivity", Connectivity, lambda: connectivity(other, few, seed=seed))
    corrected = folder.step("networks-corrected", Atlas, lambda: _corrected(found, sizes, seed, progress))
    variances = Variances.of(found)
    networks = _masks(atlases, corrected, variances, sizes, seed)
    single = {f"{few_name}": network for few_name, network in few.items() if len(network)}
    options = {"seed": seed, "progress": progress}
    masked = scored(folder, "masked", model, battery, networks, silenced, **options)
    left = scored(folder, "kept", model, battery, _kept_masks(networks, sizes.few), kept, **options)
    alone = scored(folder, "single", model, battery, _with_controls(single, sizes, seed), silenced, **options)
    louder = scored(folder, "added", model, battery, _with_controls(single, sizes, seed), added(1.0), **options)
    say("recording of neurons for pruning")
    neurons = scanners["mlp.neurons"].scan(designs["other"], folder.inside("recordings", "neurons"), progress=progress)
    pruned = folder.table(
        "pruning", lambda: s0_pruning.table(model, neurons, shown, battery, sizes.controls, quick, seed, progress)
    )
    evidence = s0_tables.Evidence(
        about, variances, networks, single, masked, left, alone, louder, again, together, corrected, pruned
    )
    kept_results = {"ten networks": few, "recurrence": again, "connectivity": together, "corrected": corrected}
    study = study_of(settings, s0_claims.claims(evidence), s0_tables.tables(evidence), kept_results, about)
    study.save(folder.inside("study.safetensors"))
    study.report(folder.inside("report.html"))
    return study


def _designs(tasks: Tasks, sizes: Sizes, seed: int) -> dict[str, BlockDesign]:
    """Designs of two sets of discovery prompts without one in common: to find networks on, and for their return."""
    prompts = tasks.prompts("discovery")
    options: dict[str, Any] = {"n_runs": 2, "tokens_per_block": 64 if sizes is QUICK else 256, "seed": seed}
    try:
        return {
            name: block_design({task: of[half::2] for task, of in prompts.items()}, n_cycles=cycles, **options)
            for name, half, cycles in (("found", 0, sizes.cycles), ("other", 1, 1))
        }
    except InputError as error:
        raise InputError(f"too few rows for two recordings without a prompt in common: {error}") from error


def _networks(recording: Recording, n: int, bar: bool) -> Atlas:
    """The paper's decomposition into ``n`` networks."""
    return find_networks(recording, **{**settings.networks, "n_components": n, "progress": bar})


def _recurrence(other: Recording, atlas: Atlas, sizes: Sizes, seed: int, bar: bool) -> Recurrence:
    return recurrence(other, atlas, method="ica", samples="prompt", n_null=sizes.n_null, seed=seed, progress=bar)


def _corrected(recording: Recording, sizes: Sizes, seed: int, bar: bool) -> Atlas:
    """The default decomposition, of which the stable networks are kept (all where none is)."""
    n = min(CORRECTED, max(sizes.networks))
    atlas = find_networks(recording, n, n_restarts=3 if sizes is QUICK else 10, n_null=0, seed=seed, progress=bar)
    assert atlas.stability is not None
    stable = [name for name, iq in zip(atlas, atlas.stability, strict=True) if iq >= _STABLE]
    return Atlas.from_networks({name: atlas[name] for name in stable}) if stable else atlas


def _masks(
    atlases: Mapping[int, Atlas], corrected: Atlas, variances: Variances, sizes: Sizes, seed: int
) -> dict[str, Network]:
    """All masks by name: unions and their parts, shares of all units, and random masks of each kind."""
    unions = {f"K={n}": atlas.union() for n, atlas in atlases.items()} | {"corrected": corrected.union()}
    last = atlases[sizes.networks[-1]]
    unions |= {f"top {share:.0%}": of_share(last, share) for share in SHARES}
    claimed = (f"K={sizes.networks[0]}", "corrected")  # unions that a claim is about have the most random masks
    made: dict[str, Network] = {}
    for name, union in unions.items():
        if not len(union):
            continue
        share = name.startswith("top")  # beside the unions: only for how much has to be kept
        parts = {"union": union} if share else masks_of(union, variances)
        made |= {f"{name}: {part}": network for part, network in parts.items()}
        for kind, drawn in controls_of(union, variances, sizes.controls, seed).items():
            if share and kind != "layer-matched":
                continue
            n = sizes.controls if name in claimed and kind != "uniform" else sizes.few
            made |= {f"{name}: {kind} {number}": network for number, network in enumerate(drawn[:n])}
    return made


def _kept_masks(networks: Mapping[str, Network], few: int) -> dict[str, Network]:
    """Those that are kept alone: unions, and the first of their layer- and variance-matched masks."""
    names = [name for name in networks if name.endswith(": union")]
    unions = [name.removesuffix(": union") for name in names]
    kinds = ("layer-matched", "variance-matched")
    names += [f"{union}: {kind} {number}" for union in unions for kind in kinds for number in range(few)]
    return {name: networks[name] for name in names if name in networks}


def _with_controls(single: Mapping[str, Network], sizes: Sizes, seed: int) -> dict[str, Network]:
    """Single networks, each with its layer-matched random ones."""
    made: dict[str, Network] = {}
    for name, network in single.items():
        made[name] = network
        drawn = matched_controls(network, sizes.few, seed=seed)
        made |= {f"{name}: control {number}": one for number, one in enumerate(drawn)}
    return made


def _plan(
    model: HookedModel,
    scanners: Mapping[str, Scanner],
    designs: Mapping[str, BlockDesign],
    battery: Battery,
    sizes: Sizes,
) -> PaperPlan:
    """Tokens, time and disk, from one evaluation of the battery that is timed; decompositions are not in it."""
    per_run = sum(battery.sizes(model))
    started = time.perf_counter()
    battery.score(model)
    speed = per_run / (time.perf_counter() - started)
    plans = [scanners[SITE].plan(designs[name]) for name in ("found", "other")]
    plans.append(scanners["mlp.neurons"].plan(designs["other"]))
    rows, size = sum(one.n_rows for one in plans), sum(one.n_bytes for one in plans)
    n_unions, n_shares = len(sizes.networks) + 1, len(SHARES)
    shares = n_shares * (1 + sizes.few)
    runs = {
        "masks": 1 + n_unions * (4 + 3 * sizes.few) + 2 * 2 * (sizes.controls - sizes.few) + shares,
        "kept alone": 1 + n_unions * (1 + 2 * sizes.few) + shares,
        "single networks": 2 * (1 + sizes.networks[0] * (1 + sizes.few)),
        "pruning": 3 + sizes.controls,
    }
    steps = [Step("recordings", rows, rows / speed, size)]
    return PaperPlan("s0", steps + [Step(name, n * per_run, n * per_run / speed) for name, n in runs.items()])
