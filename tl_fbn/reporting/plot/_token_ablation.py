"""Do special tokens find task neurons? The drop of their own task under networks found on each set of tokens.

Special tokens stand next to as many random tokens, because that comparison answers the question: where the two do not
differ, the networks were not found because the tokens are special.

A large dot is the mean drop over tasks. Its 95 % interval is over items alone, for these tasks: the standard error of a
task's drop is the length of its 95 % interval over 3.92. Errors of tasks are taken as independent, so the standard
error of the mean of T tasks is ``sqrt(sum of their squared errors) / T``. The grey bar of chance goes from the mean
over tasks of the random networks' medians to the mean of their 95th percentiles: more than 95 % of the means of random
networks lie below its end.

The table behind it is :func:`tokens_table`. Nothing is tested here; *isolated* is a result of the study that is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

ABLATION_COLUMNS = ("variant", "tokens", "task", "drop", "low", "high", "control_median", "control_p95", "isolated")
ORDER = ("special", "random", "all", "content", "answer")  # the question first, then what it is compared with
ERRORS_IN_INTERVAL = 3.92  # standard errors in a 95 % interval


@checked
def special_tokens(ablation: theme.HasTable | pd.DataFrame) -> Figure:
    """Own task lost to networks found on each set of tokens, beside matched random networks, a panel for each variant.

    >>> chats = {task: fbn.chats(task)[:8] for task in ("sort", "reverse")}
    >>> found = fbn.studies.token_ablation(model, chats, battery, tokens=("special", "random"), variants=("row_sum",),
    ...                                    n_controls=5, seed=0, progress=False)
    >>> figure = fbn.plot.special_tokens(found)
    >>> rows = figure.layout.yaxis.ticktext
    >>> {row: float(dots.x[0]) for row, dots in zip(rows, figure.data[2:])}  # points lost, mean of two tasks
    {'special': 45.0, 'as many random': 0.0}

    Args:
        ablation: What :func:`tl_fbn.studies.token_ablation` found, or its table. A table without a column ``metric``
            is taken to be in nats a token where a baseline is below 0, else in points of exact match.

    Raises:
        InputError: Columns are missing, there are no lines, or a variant, set of tokens and task occur twice.
    """
    go, _ = theme.plotly()
    table = theme.table_of(ablation)
    means = tokens_table(table)
    factor, _, unit = panels.measure(means["metric"].iloc[0])
    variants = list(dict.fromkeys(means["variant"]))
    sets = list(dict.fromkeys(means["tokens"]))
    titles = [theme.label(variant, 30) for variant in variants]
    figure, height, places = panels.grid(titles, height=34 * len(sets) + 14, shared_xaxes="all", aside=0.09)
    for number, (variant, at) in enumerate(zip(variants, places, strict=True)):
        lines = panels.lines_where(means, means["variant"] == variant)
        rows = np.array([sets.index(which) for which in lines["tokens"]], dtype=float)
        first = {"showlegend": number == 0}
        chance = panels.bars(
            factor * lines["control_median"],
            factor * lines["control_p95"],
            rows,
            name="matched random networks: median to 95 %",
            legendgroup="chance",
            hoverinfo="skip",
            **first,
        )
        figure.add_trace(chance, **at)
        each = panels.lines_where(table, table["variant"] == variant)
        # tasks of one row are spread over its height, from -.25 to .25 of its middle, in the order of the table
        nth = each.groupby("tokens").cumcount() / max(1, len(set(each["task"])) - 1)
        dots = go.Scatter(
            x=factor * each["drop"],
            y=[sets.index(str(which)) for which in each["tokens"]] + 0.5 * (nth.to_numpy() - 0.5),
            mode="markers",
            marker=panels.filled(each["isolated"], "#555555", size=6),
            name="one task (filled: isolated)",
            legendgroup="task",
            customdata=[_hover_text_of_task(line, factor, unit) for line in theme.records(each)],
            hovertemplate="%{customdata}<extra></extra>",
            **first,
        )
        figure.add_trace(dots, **at)
        colours = [theme.OKABE_ITO[3] if which == "special" else theme.OKABE_ITO[0] for which in lines["tokens"]]
        for colour, whose in ((theme.OKABE_ITO[3], "special tokens"), (theme.OKABE_ITO[0], "other tokens")):
            mine = np.array([each == colour for each in colours])
            some = panels.lines_where(lines, mine)
            own = panels.whiskers(
                factor * some["drop"],
                rows[mine],
                factor * some["low"],
                factor * some["high"],
                colour,
                marker={"color": colour, "size": 11, "symbol": "diamond" if "special" in whose else "circle"},
                name=f"{whose}, mean of tasks, 95 % over items",
                legendgroup=whose,
                customdata=[_hover_text_of_mean(line, factor, unit) for line in theme.records(some)],
                hovertemplate="%{customdata}<extra></extra>",
                **first,
            )
            figure.add_trace(own, **at)
        _write_isolated_counts(figure, lines, rows, at)
        names = [theme.label(f"as many {which}" if which == "random" else which) for which in sets]
        panels.name_rows(figure, names, shown=at["col"] == 1, **at)
        panels.line_at(figure, 0.0, **at)
        figure.update_xaxes(title_text=f"own task lost ({theme.verbatim(unit)})", showticklabels=True, **at)
    panels.finish(
        figure,
        "What networks found on each set of tokens take of their own task",
        height,
        min_width=320 * max(at["col"] for at in places),
    )
    return figure.update_layout(margin_r=76)


def tokens_table(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers behind :func:`special_tokens`, one line for each variant and set of tokens.

    Args:
        table: The table of :func:`tl_fbn.studies.token_ablation`, one line for each variant, set of tokens and task.

    Returns:
        Columns variant, tokens, tasks (how many), isolated (how many of them are isolated), metric, drop (mean over
        tasks), low and high (95 % interval over items), control_median and control_p95 (means over tasks).

    Raises:
        InputError: Columns are missing, there are no lines, or a variant, set of tokens and task occur twice.
    """
    theme.require_lines(table, ABLATION_COLUMNS, ("variant", "tokens", "task"), "special_tokens")
    inferred = "log_likelihood" if "baseline" in table and bool((table["baseline"] < 0).any()) else "exact_match"
    measured = str(table["metric"].iloc[0]) if "metric" in table else inferred  # older tables do not say
    known = [which for which in ORDER if which in set(table["tokens"])]
    sets = known + [which for which in dict.fromkeys(table["tokens"]) if which not in known]
    lines = []
    for variant in dict.fromkeys(table["variant"]):
        for which in sets:
            part = panels.lines_where(table, (table["variant"] == variant) & (table["tokens"] == which))
            if not len(part):
                continue
            # standard error of the mean: square root of the sum of the tasks' squared errors, over their number
            error = float(np.linalg.norm((part["high"] - part["low"]) / ERRORS_IN_INTERVAL) / len(part))
            mean, median, p95 = (float(np.mean(part[name])) for name in ("drop", "control_median", "control_p95"))
            ends = mean - error * ERRORS_IN_INTERVAL / 2, mean + error * ERRORS_IN_INTERVAL / 2
            first = (str(variant), str(which), len(part), sum(map(bool, part["isolated"])), measured)
            lines.append((*first, mean, *ends, median, p95))
    columns = ["variant", "tokens", "tasks", "isolated", "metric", "drop", "low", "high"]
    return pd.DataFrame(lines, columns=[*columns, "control_median", "control_p95"])


def _write_isolated_counts(figure: Figure, lines: pd.DataFrame, rows: np.ndarray, at: dict[str, Any]) -> None:
    """How many tasks are isolated, to the right of each row."""
    place = {"x": 1, "xref": "x domain", "xanchor": "left", "xshift": 6, "showarrow": False, **at}
    figure.add_annotation(text="isolated", y=-0.5, yanchor="bottom", font={"color": "#444"}, **place)
    for line, row in zip(theme.records(lines), rows, strict=True):
        figure.add_annotation(text=f"{line['isolated']} of {line['tasks']}", y=row, **place)


def _hover_text_of_task(line: dict[str, Any], factor: float, unit: str) -> str:
    """What hovering over the dot of one task says."""
    drop, low, high, p95 = (factor * line[name] for name in ("drop", "low", "high", "control_p95"))
    verdict = "isolated" if line["isolated"] else "not isolated"
    return (
        f"{theme.verbatim(line['task'])}, {theme.verbatim(line['tokens'])} tokens<br>"
        f"lost {drop:.3g} {unit} [{low:.3g}, {high:.3g}]; 95 % of random networks {p95:.3g}<br>{verdict}"
    )


def _hover_text_of_mean(line: dict[str, Any], factor: float, unit: str) -> str:
    """What hovering over the mean of the tasks says."""
    drop, low, high, median, p95 = (
        factor * line[name] for name in ("drop", "low", "high", "control_median", "control_p95")
    )
    return (
        f"{theme.verbatim(line['tokens'])} tokens, mean of {line['tasks']} tasks<br>"
        f"lost {drop:.3g} {unit} [{low:.3g}, {high:.3g}]<br>"
        f"random networks: median {median:.3g}, 95 % {p95:.3g}<br>{line['isolated']} of {line['tasks']} isolated"
    )
