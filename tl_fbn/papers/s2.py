"""Nencka et al. 2023: block designs and a general linear model over the outputs of every layer.

::

    study = fbn.papers.s2.run(model, None, "s2/", seed=0)   # the six conditions of the abstract

The protocol:

1. six conditions in off/on/off blocks, prompts about everyday life in the off periods; the model writes, and every
   sublayer's output is recorded for every token that it writes. There are two recordings without a prompt in common;
2. ordinary least squares at every output value; the network of a task is what is significant against the off periods
   (false discovery rate .05: the abstract names no threshold). Tokens are not independent, so the same is done over
   block means, which the paper lacks; and as the sizes of such networks differ, networks of one size are compared, too;
3. the overlap of every two networks, beside random ones with as many units in every layer: the abstract has the
   largest for medical imaging and pathology;
4. how alike the networks of single runs are, within a task and between tasks;
5. the task of every run of one recording is told from the networks of the other.

Everything but the abstract is our choice (``print(fbn.papers.s2.settings)``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast, overload

import pandas as pd

from tl_fbn.acquisition.design.block_design import BlockDesign, block_design
from tl_fbn.acquisition.design.stimuli import fields
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan.content_key import digest
from tl_fbn.acquisition.scan.scanner import Scanner
from tl_fbn.analysis.glm.fit import GLMFit, fit_glm
from tl_fbn.analysis.networks.identification import Identification, identify_task
from tl_fbn.analysis.networks.reliability import reliability
from tl_fbn.errors import InputError
from tl_fbn.papers.paper_folder import PaperFolder
from tl_fbn.papers.paper_plan import PaperPlan, Step
from tl_fbn.papers.paper_study import PaperStudy, PaperTable, study_of
from tl_fbn.papers.s2_claims import (
    RELATED,
    SELECTIONS,
    TOP,
    claims,
    dice_square,
    overlap_table,
    size_table,
)
from tl_fbn.papers.s2_settings import settings as settings
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas

OFF = "rest"
FDR = 0.05
MAIN = "resid.post"  # what a layer gives out: the site that claims about single sites are read at


@overload
def run(
    model: HookedModel,
    topics: Mapping[str, Sequence[Any]] | None,
    path: str | os.PathLike,
    *,
    seed: int,
    related: tuple[str, str] | None = ...,
    quick: bool = ...,
    plan: Literal[False] = ...,
    progress: bool = ...,
    say: Callable[[str], None] = ...,
) -> PaperStudy: ...
@overload
def run(
    model: HookedModel,
    topics: Mapping[str, Sequence[Any]] | None,
    path: str | os.PathLike,
    *,
    seed: int,
    related: tuple[str, str] | None = ...,
    quick: bool = ...,
    plan: Literal[True],
    progress: bool = ...,
    say: Callable[[str], None] = ...,
) -> PaperPlan: ...
@checked
def run(
    model: HookedModel,
    topics: Mapping[str, Sequence[Any]] | None,
    path: str | os.PathLike,
    *,
    seed: int,
    related: tuple[str, str] | None = None,
    quick: bool = False,
    plan: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> PaperStudy | PaperPlan:
    """Run the protocol of Nencka et al. (2023): networks of topics by block designs and a GLM.

    Args:
        model: A TransformerLens model in eval mode.
        topics: Name of each condition to its prompts, which the model continues, with the off periods' prompts as
            ``"rest"``; at least three besides. None takes the paper's six conditions
            (``fbn.prompts("s2/archeology")`` and so on).
        path: Folder that keeps every finished step; the same call goes on from there.
        seed: Seed of the order of prompts, of nulls and of permutations.
        related: Two conditions whose networks should overlap most; None takes the paper's, medical imaging and
            pathology, where there are such conditions, and tests nothing where there are not.
        quick: A small run to see that everything works: few runs, short blocks, two sites, no claim.
        plan: Run nothing, and return what it will cost.
        progress: Show progress bars.
        say: A function that is called with a line of text at the start and end of every step.

    Returns:
        The study, or with ``plan=True`` a :class:`tl_fbn.papers.PaperPlan`.

    Raises:
        InputError: Fewer than three conditions beside ``"rest"``, too few prompts for the blocks, related conditions
            that are none, or a folder of another run.
    """
    host.require_model(model)
    prompts = _checked_topics(topics)
    pair = _checked_pair(prompts, related)
    sizes = {"runs": 3, "tokens": 8} if quick else {"runs": 6, "tokens": 32}
    designs = _designs(prompts, sizes, seed)
    sites = settings.sites(model)
    if quick:
        sites = [site for site in sites if site in ("mlp.neurons", MAIN)]
    dtype = "bfloat16" if host.number_type(model) == "bfloat16" else "float32"
    scanner = Scanner(model, site=sites, dtype=dtype, surprisal=False)
    if plan:
        return _plan(scanner, designs)
    about = {"paper": "s2", "quick": quick, "seed": seed, "conditions": [one for one in prompts if one != OFF], **sizes}
    seen = digest([[name, list(map(repr, of))] for name, of in prompts.items()])
    identity = {**about, "prompts": seen, "sites": sites, "dtype": dtype, "related": pair}
    folder = PaperFolder(path, model, sites[0], identity, say)
    recordings = []
    for name, design in zip(("found", "tested"), designs, strict=True):
        say(f"recording of {name} prompts: {design.n_rows:,} tokens to write")
        recordings.append(scanner.scan(design, folder.inside("recordings", name), progress=progress))
    about |= {"model": host.model_label(model), "sites": sites, "related": pair}
    return _study(folder, recordings, sites, about, progress)


def _checked_topics(topics: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
    prompts = {name: list(of) for name, of in (fields() if topics is None else topics).items()}
    tasks = [name for name in prompts if name != OFF]
    if OFF not in prompts or len(tasks) < 3:
        raise InputError(
            f"the protocol compares at least three conditions with {OFF!r}, the prompts of the off periods; got "
            f"{', '.join(prompts) or 'none'}"
        )
    return prompts


def _checked_pair(prompts: Mapping[str, Any], related: tuple[str, str] | None) -> tuple[str, str] | None:
    if related is None:
        return RELATED if all(one in prompts for one in RELATED) else None
    if len(set(related)) < 2 or any(one not in prompts or one == OFF for one in related):
        names = ", ".join(name for name in prompts if name != OFF)
        raise InputError(f"related names two different conditions, of {names}; got {related}")
    return related


def _designs(prompts: Mapping[str, list[Any]], sizes: Mapping[str, int], seed: int) -> list[BlockDesign]:
    """Two designs that have no prompt in common: every other prompt of each condition."""
    n_tasks, n_runs = len(prompts) - 1, sizes["runs"]
    needed = {name: 2 * n_runs * (n_tasks + 1 if name == OFF else 1) for name in prompts}
    if short := [
        f"{name} has {len(of)} and needs {needed[name]}" for name, of in prompts.items() if len(of) < needed[name]
    ]:
        raise InputError(
            f"too few prompts for two recordings of {n_runs} runs, one prompt a block: {'; '.join(short)}. Give more"
        )
    return [
        block_design(
            {name: of[half::2] for name, of in prompts.items()},
            n_runs=n_runs,
            n_cycles=1,
            tokens_per_block=sizes["tokens"],
            baseline=OFF,
            seed=seed,
            **settings.design,
        )
        for half in (0, 1)
    ]


def _study(
    folder: PaperFolder, recordings: Sequence[Recording], sites: list[str], about: dict[str, Any], bar: bool
) -> PaperStudy:
    """Networks, overlaps, repeatability and identification at every site, and what they say."""
    seed, tasks = about["seed"], about["conditions"]
    found = {site: recordings[0].site(site) for site in sites}
    tested = {site: recordings[1].site(site) for site in sites}
    networks = {
        (site, chosen): folder.step(
            f"networks-{chosen}-{site}", Atlas, lambda s=site, c=chosen: _networks(found[s], tasks, c, bar)
        )
        for site in sites
        for chosen in SELECTIONS
    }
    overlaps = folder.table("overlaps", lambda: overlap_table(networks, sites, tasks, seed))
    sizes = size_table(networks, sites, tasks)
    likeness = folder.table("repeatability", lambda: _repeatability(found, tasks))
    told = {
        site: folder.step(
            f"identification-{site}", Identification, lambda s=site: _told(found[s], tested[s], tasks, seed, bar)
        )
        for site in sites
    }
    main = MAIN if MAIN in sites else sites[-1]
    judgements = claims(overlaps, likeness, told, main, about)
    confusion = told[main].confusion.rename_axis("true").reset_index()
    tables = {
        "overlap": PaperTable(
            "How far networks overlap",
            f"Dice of the networks of {TOP:.0%} of all output values, all sites together; below it every pair, "
            "selection and site, with what random networks of as many units in every layer share.",
            dice_square(overlaps, tasks),
            "matrix",
        ),
        "overlaps": PaperTable(
            "Every overlap",
            "Selections: " + "; ".join(f"{name}: {words}" for name, words in SELECTIONS.items()) + ". p is exact.",
            overlaps,
        ),
        "sizes": PaperTable(
            "How large the networks are",
            "Share of a site's output values in each network. Over tokens nearly everything is significant, as tokens "
            "of a block are not independent.",
            sizes,
        ),
        "repeatability": PaperTable(
            "Networks of single runs",
            f"Dice of the {TOP:.0%} of largest t of a condition against all others, of two runs of a task and of runs "
            "of two tasks; discriminability is .5 by chance.",
            likeness,
        ),
        "confusion": PaperTable(
            f"Which task is a run of? ({main})",
            f"{told[main]!r}. Rows: the run's task; columns: the task that it was given to, from networks of other "
            "prompts.",
            confusion,
            "matrix",
        ),
        "identification": PaperTable(
            "Identification at every site",
            "Share of runs given to their own task.",
            pd.DataFrame(
                [(site, one.accuracy, *one.interval, one.chance, one.p, one.n) for site, one in told.items()],
                columns=["site", "accuracy", "low", "high", "chance", "p", "runs"],
            ),
        ),
    }
    kept: dict[str, Any] = {f"networks at {main}": networks[main, "sized"], f"identification at {main}": told[main]}
    study = study_of(settings, judgements, tables, kept, about)
    study.save(folder.inside("study.safetensors"))
    study.report(folder.inside("report.html"))
    return study


def _networks(recording: Recording, tasks: Sequence[str], chosen: str, bar: bool) -> Atlas:
    """The network of every task at one site, of positive and negative effects alike."""
    fit: GLMFit = fit_glm(recording, progress=bar, **settings.glm)
    level = "token" if chosen == "token" else "block"
    cut: dict[str, Any] = {"top": TOP} if chosen == "sized" else {"fdr": FDR}
    made = {task: fit.contrast(f"{task} - {OFF}", level=level).threshold(**cut, name=task) for task in tasks}
    return Atlas.from_networks(made)


def _repeatability(found: Mapping[str, Recording], tasks: Sequence[str]) -> pd.DataFrame:
    tables = []
    for site, recording in found.items():
        table = reliability(dict.fromkeys(tasks, recording), top=TOP).to_dataframe()
        table.insert(0, "site", site)
        tables.append(table[["site", "task", "dice_within", "dice_between", "discriminability", "icc"]])
    return pd.concat(tables, ignore_index=True)


def _told(found: Recording, tested: Recording, tasks: Sequence[str], seed: int, bar: bool) -> Identification:
    """The runs of one recording, told from the maps of the other: each condition against the mean of all others."""
    fit: GLMFit = fit_glm(found, progress=bar, **settings.glm)
    others = fit.contrasts_against_others(level="token")
    maps = {task: others[task].t for task in tasks}
    return identify_task(dict.fromkeys(tasks, tested), networks=maps, seed=seed, progress=bar)


def _plan(scanner: Scanner, designs: Sequence[BlockDesign]) -> PaperPlan:
    """Tokens, time and disk of both recordings, from a few tokens that are written and timed."""
    plans = [scanner.plan(design) for design in designs]
    design = designs[0]
    probe = block_design(
        cast(Any, design.conditions),
        n_runs=1,
        n_cycles=1,
        tokens_per_block=4,
        seed=0,
        **settings.design,
    )
    started = time.perf_counter()
    fit_glm(scanner_of_one(scanner).stream(probe, progress=False), progress=False, **settings.glm)
    speed = probe.n_rows / (time.perf_counter() - started)
    steps = [
        Step(f"recording of {name} prompts", one.n_rows, one.n_rows / speed, one.n_bytes)
        for name, one in zip(("found", "tested"), plans, strict=True)
    ]
    return PaperPlan("s2", steps)


def scanner_of_one(scanner: Scanner) -> Scanner:
    """A scanner of the first site of another, for a stream.

    Args:
        scanner: A scanner of one site or more.
    """
    return Scanner(scanner.model, site=scanner.spaces[0].site, surprisal=False)
