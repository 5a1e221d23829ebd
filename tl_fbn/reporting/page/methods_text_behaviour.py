"""What comparisons and experiments say of their own making: the other half of :mod:`.accounts`, for what is done with networks once they are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.page.methods_text import METHODS, METRICS, NOT_RECORDED, P, listed, where


def chosen(result: Any) -> list[str]:
    about, tried = result.provenance, result.table["n_components"].tolist()
    return [
        f"Numbers of networks from {listed(tried)} were compared by stability (Iq over {about.get('n_restarts', NOT_RECORDED)} restarts) and by parallel "
        f"analysis against {len(result.shuffled)} shuffles (seed {about.get('seed', NOT_RECORDED)}); proposed: {result.proposal}."
    ]


def recurred(result: Any) -> list[str]:
    kind = result.provenance.get("samples", "sample")
    how = "dual regression" if result.method == "dual" else "an independent component analysis"
    return [
        f"Recurrence of {len(result.names)} networks was counted in {result.n_samples} {kind}s ({result.skipped} too short) by {how} of each; a network "
        f"came back where intersection over union exceeded {result.threshold:g}. Chance: {len(result.null)} templates shuffled within layers; {P}; seed "
        f"{result.provenance.get('seed', NOT_RECORDED)}."
    ]


def connected(result: Any) -> list[str]:
    about = result.provenance
    return [
        f"Connectivity of {len(result.names)} networks is the {result.kind} correlation of their time courses (by {about.get('how', NOT_RECORDED)}), with 95 % "
        f"block-bootstrap intervals ({about.get('n_bootstrap', NOT_RECORDED)} draws, seed {about.get('seed', NOT_RECORDED)})."
    ]


def identified(result: Any) -> list[str]:
    return [
        f"{result.n} runs of {listed(result.tasks)} were told apart by {result.method}; chance is {result.chance:.3g}, the interval Wilson's, p from "
        f"{result.n_shuffles:,} shuffles of the labels. Recordings and seed are {NOT_RECORDED} in this result."
    ]


def overlapped(result: Any) -> list[str]:
    return [
        f"Overlap of {result.a} and {result.b} was compared with {len(result.null):,} random pairs that take as many units from every layer ({P}); the seed "
        f"is {NOT_RECORDED} in this result."
    ]


def fingerprinted(result: Any) -> list[str]:
    about = result.provenance
    return [
        f"Two models were compared over {result.n_texts} texts by the best pairing of their networks ({len(result.names[0])} and {len(result.names[1])}; "
        f"absolute Spearman correlation of courses), against {len(result.null)} mismatches of texts (seed {about.get('seed', NOT_RECORDED)})."
    ]


def regressed(result: Any) -> list[str]:
    return [
        f"Maps of {len(result.names)} networks in {len(result)} single {result.provenance.get('samples', 'sample')}s came from dual regression "
        f"({result.skipped} too short)."
    ]


def scored(result: Any) -> list[str]:
    about = result.provenance
    return [
        f"Gradient scores ({about.get('method', NOT_RECORDED)}, {about.get('variant', NOT_RECORDED)}, {about.get('tokens', NOT_RECORDED)} tokens) of "
        f"{len(result)} items were kept one by one over {where(result.space)}."
    ]


def lesioned(result: Any) -> list[str]:
    about, sizes = result.about, np.asarray(result.sizes).sum(1)
    kinds = " and ".join(f"{array.shape[1]} {kind}" for kind, array in result.control_scores.items())
    known = sum(kind == "disjoint" for kind in result.discovery.values())
    span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    matched = "of as many units in every layer" + (
        " (activity controls also of like mean activation and outgoing norm)"
        if "activity" in result.control_scores
        else ""
    )
    return [
        f"Activations of the members of {listed(result.networks)} ({span} units) were {_method(about)} at {about.get('positions', NOT_RECORDED)} positions, "
        f"one network at a time, while {listed(result.tasks)} ({_items(result.counts)}) were scored by {METRICS[result.metric]}. Beside each network stand "
        f"{kinds} control networks {matched}; {P}, one-sided, for each network and task, not corrected for their number; control seed "
        f"{about.get('seed', NOT_RECORDED)}. Intervals are 95 % paired bootstraps over items ({about.get('n_bootstrap', NOT_RECORDED)} draws). Prompts on which networks "
        f"were found are known and disjoint from the items for {known} of {len(result.discovery)} networks"
        f"{'' if known == len(result.discovery) else ', and unknown for the others'}. "
        + (
            f"Model: {about['model']}; site: {about['site']}."
            if {"model", "site"} <= set(about)
            else f"Model and site are {NOT_RECORDED} in this study."
        )
    ]


def dosed(result: Any) -> list[str]:
    about = result.about
    kinds = {
        "gain": "activations multiplied by gains of",
        "add": "amounts added to activations (activation units) of",
        "add_sd": "amounts added (standard deviations of each unit) of",
        "size": "nested networks, of shares of all units of",
    }
    doses = listed([f"{dose:g}" for dose in result.doses])
    how = f", {_method(about)}" if result.kind == "size" else ""
    return [
        f"Dose and response of {result.network}: {kinds[result.kind]} {doses}{how} at {about.get('positions', NOT_RECORDED)} positions, "
        f"scored by {METRICS[result.metric]} on {listed(result.tasks)} ({_items(result.counts)}), beside {len(result.controls)} layer-matched random networks; {P}; "
        f"95 % bootstrap over items ({about.get('n_bootstrap', NOT_RECORDED)} draws); seed {about.get('seed', NOT_RECORDED)}; discovery prompts: "
        f"{about.get('discovery', NOT_RECORDED)}."
    ]


def calibrated(result: Any) -> list[str]:
    about = result.about
    rules = ", ".join(f"{len(changes)} {rule}" for rule, changes in result.controls.items()) or "none"
    amounts = listed([f"{amount:g}" for amount in result.amounts])
    return [
        f"Amplification of {result.network.name} ({result.kind}; tried: {amounts}) was calibrated on {int(result.counts[0, 0])} items of {result.tasks[0]} "
        f"(share {about.get('share', NOT_RECORDED)}; no other task may lose more than {about.get('tolerance', NOT_RECORDED)} nats) and measured on "
        f"{int(result.counts[1, 0])} others by {METRICS[result.metric]}, with controls: {rules} (calibrated ones go through the same search); {P}; seed "
        f"{about.get('seed', NOT_RECORDED)}."
    ]


def validated(result: Any) -> list[str]:
    about, tried = result.about, int(np.isfinite(result.effects).sum())
    return [
        f"Scores {listed(result.names)} were compared with lesions of {where(result.space)}: {tried:,} units one by one and {len(result.groups)} random sets of "
        f"{result.groups.shape[1]:,}, {_method(about)}, on {about.get('n_items', NOT_RECORDED)} items of {result.task} "
        f"({METRICS.get(about.get('metric', ''), NOT_RECORDED)}); chance shuffles scores within layers ({about.get('n_shuffles', NOT_RECORDED)} times; seed "
        f"{about.get('seed', NOT_RECORDED)}). Positions are {NOT_RECORDED}."
    ]


def pruned(result: Any) -> list[str]:
    protected = result.about.get("protected")
    layers = NOT_RECORDED if protected is None else listed(protected)
    means = "no compensation" if result.compensation == "none" else f"means of removed units from {result.compensation}"
    return [
        f"All but {len(result.kept):,} of {result.kept.space.n_units:,} units of {where(result.kept.space)} were removed from the weights ({result.ratio:.1%} of the "
        f"parameters; protected layers: {layers}; {means}). Logits differ from the masked model's by at most {result.difference:.2g}."
    ]


def responded(result: Any) -> list[str]:
    return [
        f"Free answers to {len(result.texts)} items of {listed(list(result.table))} were parsed strictly; what could not be parsed counts as wrong. Decoding "
        f"settings are {NOT_RECORDED} in this result."
    ]


def preset(result: Any) -> list[str]:
    return [
        f"Settings follow {result.source} where it states them ({len(result.stated)}); where it does not ({len(result.unknown)}), they are our choice, marked below. "
        "This is not a reproduction."
    ]


def _method(about: Any) -> str:
    method = about.get("method")
    return METHODS.get(str(method), str(method or NOT_RECORDED))


def _items(counts: np.ndarray) -> str:
    sizes = sorted({int(n) for n in counts})
    return f"{sizes[0]} items each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} items each"
