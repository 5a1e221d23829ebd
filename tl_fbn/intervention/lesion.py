"""The lesion study: does inhibiting a network break its task, more than random networks of its size, and more than others?

Every source network is inhibited while every task of a battery is scored. Beside it stand ``n_controls`` random networks
with the same number of units in every layer, drawn anew for each source network, and

    p = (1 + number of controls whose drop is at least the network's) / (1 + number of controls),

so 100 controls cannot give less than .0099. A drop says something about a task only against the drops of the other
tasks, which is why the table is a matrix, and about a network only against its controls.

The items a network is scored on must not be the prompts it was found on: networks remember digests of those prompts, and
an overlap is an error. Where a network does not know its prompts, the table says so.

Cost: (1 + networks x (1 + controls)) evaluations of the battery; 100 items a task are plenty.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn import files
from tl_fbn.acquisition.recording import Recording
from tl_fbn.intervention.battery import Battery, Scores
from tl_fbn.intervention.hooks import inhibit
from tl_fbn.intervention.replacements import Method
from tl_fbn.units import Network, html_table

METRICS = ("exact_match", "log_likelihood")


@dataclass(frozen=True, eq=False)
class LesionStudy:
    """Source network x target task, with controls.

    Args:
        networks: Names of the source networks.
        tasks: Names of the tasks.
        baseline: (task, metric) without a lesion; metrics as in :data:`METRICS`.
        lesioned: (network, task, metric) under each network's inhibition.
        controls: (network, control, task, metric) under matched random networks.
        metric: The metric that tables and tests use unless told otherwise.
        sizes: (network, layer) units in each layer.
        discovery: Network name to ``"disjoint"`` or ``"discovery prompts unknown"``.
        about: Method, seed, model.
    """

    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    baseline: Float[np.ndarray, "task metric"]
    lesioned: Float[np.ndarray, "network task metric"]
    controls: Float[np.ndarray, "network control task metric"]
    metric: str
    sizes: np.ndarray
    discovery: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=dict)

    def drops(self, metric: str | None = None) -> Float[np.ndarray, "network task"]:
        """Baseline minus lesioned."""
        m = self._metric(metric)
        return self.baseline[None, :, m] - self.lesioned[:, :, m]

    def control_drops(self, metric: str | None = None) -> Float[np.ndarray, "network control task"]:
        """Baseline minus score under each matched random network."""
        m = self._metric(metric)
        return self.baseline[None, None, :, m] - self.controls[..., m]

    def to_dataframe(self, *, metric: str | None = None) -> pd.DataFrame:
        """One line a network and task.

        Columns: network, task, metric, baseline, lesioned, drop, control_median, control_p95, p, discovery. Drops of
        exact_match are shares of items, of log_likelihood nats a token.
        """
        m = self._metric(metric)
        drops, controls = self.drops(metric), self.control_drops(metric)
        p = np.array([empirical_p(own, chance) for own, chance in zip(drops, controls, strict=True)])
        lines = [
            (
                network,
                task,
                METRICS[m],
                self.baseline[j, m],
                self.lesioned[i, j, m],
                drops[i, j],
                np.median(controls[i, :, j]),
                np.quantile(controls[i, :, j], 0.95),
                p[i, j],
                self.discovery[network],
            )
            for i, network in enumerate(self.networks)
            for j, task in enumerate(self.tasks)
        ]
        columns = [
            "network",
            "task",
            "metric",
            "baseline",
            "lesioned",
            "drop",
            "control_median",
            "control_p95",
            "p",
            "discovery",
        ]
        return pd.DataFrame(lines, columns=columns)

    def summary(self, *, metric: str | None = None) -> pd.DataFrame:
        """One line a network that is named like a task: its own task against the others and against chance.

        Columns: network, units, share is left to the atlas; own (drop of its task), other_median and other_worst (of the
        other tasks), worst_task, control_median and control_p95 (own task, matched random), p.
        """
        table = self.to_dataframe(metric=metric)
        lines = []
        for i, network in enumerate(self.networks):
            if network not in self.tasks:
                continue
            of_network = table[table["network"] == network].set_index("task")
            own, others = of_network.loc[network], of_network.drop(index=network)["drop"]
            worst = str(others.idxmax()) if len(others) else ""
            lines.append(
                (
                    network,
                    int(self.sizes[i].sum()),
                    own["drop"],
                    others.median() if len(others) else np.nan,
                    others.max() if len(others) else np.nan,
                    worst,
                    own["control_median"],
                    own["control_p95"],
                    own["p"],
                )
            )
        columns = [
            "network",
            "units",
            "own",
            "other_median",
            "other_worst",
            "worst_task",
            "control_median",
            "control_p95",
            "p",
        ]
        return pd.DataFrame(lines, columns=columns)

    def dissociation(self, first: str, second: str, *, metric: str | None = None) -> pd.Series:
        """Double dissociation of two networks that are named like their tasks.

        The statistic is the interaction: each network's drop on its own task minus its drop on the other's, summed. Its p
        compares it with the same interaction of matched random networks, drawn in pairs.
        """
        names = (first, second)
        for name in names:
            if name not in self.networks or name not in self.tasks:
                raise ValueError(
                    f"{name!r} must name a network and a task of this study; networks: {', '.join(self.networks)}; tasks: {', '.join(self.tasks)}"
                )
        rows, columns = [self.networks.index(n) for n in names], [self.tasks.index(n) for n in names]
        drops, controls = self.drops(metric), self.control_drops(metric)
        own = drops[np.ix_(rows, columns)]
        null = controls[rows][:, :, columns]  # (2, control, 2)
        interaction = own[0, 0] - own[0, 1] + own[1, 1] - own[1, 0]
        chance = null[0, :, 0] - null[0, :, 1] + null[1, :, 1] - null[1, :, 0]
        return pd.Series(
            {
                f"{first} on {first}": own[0, 0],
                f"{first} on {second}": own[0, 1],
                f"{second} on {second}": own[1, 1],
                f"{second} on {first}": own[1, 0],
                "interaction": interaction,
                "control_median": np.median(chance),
                "p": empirical_p(interaction, chance),
            }
        )

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        arrays = {name: getattr(self, name) for name in ("baseline", "lesioned", "controls", "sizes")}
        names = {name: getattr(self, name) for name in ("networks", "tasks", "metric")}
        files.write_result(
            path, "LesionStudy", arrays, {**names, "discovery": dict(self.discovery), "about": dict(self.about)}
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> LesionStudy:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "LesionStudy")
        return cls(
            networks=tuple(about["networks"]),
            tasks=tuple(about["tasks"]),
            metric=about["metric"],
            discovery=about["discovery"],
            about=about["about"],
            **arrays,
        )

    def _metric(self, metric: str | None) -> int:
        chosen = self.metric if metric is None else metric
        check_metric(chosen)
        return METRICS.index(chosen)

    def __repr__(self) -> str:
        return (
            f"LesionStudy of {self.metric}: {len(self.networks)} networks ({', '.join(self.networks)}) x {len(self.tasks)} tasks, "
            f"{self.controls.shape[1]} matched random controls each"
        )

    def _repr_html_(self) -> str:
        table = self.to_dataframe()
        rows = [tuple(f"{x:.3g}" if isinstance(x, float) else x for x in row) for row in table.itertuples(index=False)]
        return html_table(repr(self), tuple(table.columns), rows)


def lesion_study(
    model: Any,
    networks: Mapping[str, Network],
    battery: Battery,
    *,
    seed: int,
    n_controls: int = 100,
    method: Method = "zero",
    reference: Recording | None = None,
    metric: str | None = None,
    batch_size: int = 128,
    progress: bool = True,
) -> LesionStudy:
    """Inhibit every network, score every task, and do the same with matched random networks.

    Args:
        model: A TransformerLens model in eval mode.
        networks: Names to networks; a network named like a task is that task's own.
        battery: What to score, on items that no network was found on.
        seed: Of the random networks.
        n_controls: Random networks for each source network, with as many units in each layer.
        method: How units are silenced, as :func:`.hooks.inhibit`.
        reference: A recording, for ``method="mean"``.
        metric: ``"exact_match"`` or ``"log_likelihood"``; by default exact match if every task has one.
        batch_size: Items in a forward pass.
        progress: Show a bar.

    Raises:
        ValueError: A network from another space, one that was found on prompts of the battery, or fewer than one control.
    """
    if not networks:
        raise ValueError("lesion_study got no networks; give a mapping of names to networks")
    if n_controls < 1:
        raise ValueError(f"n_controls={n_controls} leaves nothing to compare with; give at least 1, better 100")
    metric = metric_of(battery, metric)
    discovery = {
        name: check_disjoint(network, battery, getattr(model, "tokenizer", None), name)
        for name, network in networks.items()
    }
    baseline = _matrix(battery.score(model, batch_size=batch_size))
    lesioned, controls = [], []
    with tqdm(total=len(networks) * (1 + n_controls), desc="lesions", unit="lesion", disable=not progress) as bar:
        for number, network in enumerate(networks.values()):
            sham = matched_controls(network, n_controls, seed=seed + number)
            scores = []
            for target in (network, *sham):
                with inhibit(model, target, method=method, reference=reference):
                    scores.append(_matrix(battery.score(model, batch_size=batch_size)))
                bar.update()
            lesioned.append(scores[0])
            controls.append(scores[1:])
    about = {"method": method, "seed": seed, "n_controls": n_controls, "control": "random, units per layer matched"}
    return LesionStudy(
        tuple(networks),
        tuple(battery.tasks),
        baseline,
        np.array(lesioned),
        np.array(controls),
        metric,
        np.array([network.per_layer() for network in networks.values()]),
        discovery,
        about,
    )


def matched_controls(network: Network, n: int, *, seed: int) -> list[Network]:
    """Random networks with the same number of units in every layer, drawn without regard to membership.

    Args:
        network: What to match.
        n: How many.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    space = network.space
    counts = network.per_layer()
    drawn = []
    for number in range(n):
        members = np.zeros(space.n_units, dtype=bool)
        for layer, count in enumerate(counts):
            span = space.layer_slice(layer)
            members[span.start + rng.choice(span.stop - span.start, count, replace=False)] = True
        provenance = {"method": "random, units per layer matched", "seed": seed, "prompts": []}
        drawn.append(Network(space, members, name=f"random {number} like {network.name}", provenance=provenance))
    return drawn


def check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is none of {', '.join(map(repr, METRICS))}")


def metric_of(battery: Battery, metric: str | None) -> str:
    """The metric that scores every task of a battery: the one asked for, or exact match if every task has one."""
    defined = all(task.kind != "text" for task in battery.tasks.values())
    metric = metric or ("exact_match" if defined else "log_likelihood")
    if metric not in METRICS or (metric == "exact_match" and not defined):
        raise ValueError(
            f"metric={metric!r} cannot score this battery; plain text has log_likelihood, other tasks exact_match too"
        )
    return metric


def empirical_p(own: Any, controls: np.ndarray) -> Any:
    """(1 + controls at least as large) / (1 + controls), over the first axis of the controls."""
    return (1 + (controls >= own - 1e-12).sum(0)) / (1 + len(controls))


def check_disjoint(network: Network, battery: Battery, tokenizer: Any, name: str) -> str:
    """``"disjoint"`` or ``"discovery prompts unknown"``; ValueError if the network was found on items of the battery."""
    prompts = network.provenance.get("prompts")
    if prompts is None:
        return "discovery prompts unknown"
    found_on = set(prompts)
    for task, digests in battery.digests(tokenizer).items():
        if shared := found_on & digests:
            raise ValueError(
                f"network {name!r} was found on {len(shared)} of the prompts that task {task!r} scores; a result on its own "
                "discovery prompts is no result. Score other items, or find the network on other prompts"
            )
    return "disjoint"


def _matrix(scores: Mapping[str, Scores]) -> Float[np.ndarray, "task metric"]:
    return np.array([[result.of(metric) for metric in METRICS] for result in scores.values()])
