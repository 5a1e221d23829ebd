"""Pictures of an independent component analysis: how many networks to find, and how far each can be trusted.

- :func:`component_choice` how many networks: the variance of each direction of the data beside that of data whose
  units were rotated in time (parallel analysis, Horn 1965), and how stable the networks of each number tried are;
- :func:`stability`        Iq of every network of an atlas, beside that of noise.

Iq (Himberg et al. 2004; :mod:`tl_fbn.analysis.ica.icasso`) is the mean \\|correlation\\| of the maps that repeated runs
found for one network minus their mean \\|correlation\\| with all other maps: near 1 for a network that always comes
back. It has no natural zero, as repeated runs on pure noise give .4 to .9, and so noise is always drawn beside it.
"""

from __future__ import annotations

import numpy as np

from tl_fbn.analysis.ica.model_order import ComponentChoice
from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas


@checked
def component_choice(choice: ComponentChoice, *, title: str | None = None) -> Figure:
    """What speaks for how many networks: variance against chance, and stability of each number tried.

    Dotted vertical lines stand after the last direction whose variance exceeds chance, and at the proposed number.

    >>> choice = fbn.choose_components(recording, (4, 8), n_restarts=3, seed=0)
    >>> figure = fbn.plot.component_choice(choice)
    >>> figure.layout.title.text
    '... networks proposed; ... directions exceed chance'

    Args:
        choice: What :func:`tl_fbn.choose_components` found.
        title: Heading of the picture; by default the proposed number of networks, with "in doubt" where the criteria
            disagree, and the number of directions that exceed chance.
    """
    go, make_subplots = theme.plotly()
    titles = ["share of variance of each direction", "stability of the networks of each number tried"]
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.12, subplot_titles=titles)
    blue, orange, green = theme.OKABE_ITO[:3]
    place = np.arange(1, len(choice.variance) + 1)
    for name, values, style in (
        ("data", choice.variance, {"color": blue}),
        # chance: each unit's course is shifted in time by itself, and the largest of all shuffles is taken
        ("units rotated in time, largest", choice.shuffled.max(0), {"color": orange, "dash": "dot"}),
    ):
        line = go.Scatter(
            x=place,
            y=100 * values,
            name=name,
            mode="lines+markers",
            line=style,
            hovertemplate="direction %{x}: %{y:.3g} %",
        )
        figure.add_trace(line, row=1, col=1)
    table = choice.table
    for name, column, style in (
        ("mean Iq", "mean_iq", {"color": blue}),
        ("Iq of noise, 95 %", "noise_iq", {"color": orange, "dash": "dot"}),
        ("share with Iq above .8", "share_stable", {"color": green, "dash": "dash"}),
    ):
        line = go.Scatter(
            x=table["n_components"].to_numpy(),
            y=table[column].to_numpy(),
            name=name,
            mode="lines+markers",
            line=style,
            hovertemplate="%{x} networks: %{y:.3f}",
        )
        figure.add_trace(line, row=1, col=2)
    figure.update_xaxes(title_text="direction", row=1, col=1)
    figure.update_xaxes(title_text="networks", row=1, col=2)
    figure.update_yaxes(title_text="% of variance", type="log", row=1, col=1)
    figure.update_yaxes(range=[0, 1.03], row=1, col=2)
    figure.add_vline(x=choice.n_above_chance + 0.5, line={"dash": "dot", "color": "#444", "width": 1}, row=1, col=1)
    figure.add_vline(x=choice.proposal, line={"dash": "dot", "color": "#444", "width": 1}, row=1, col=2)
    doubt = "" if choice.agreed else ", in doubt"
    heading = title or f"{choice.proposal} networks proposed{doubt}; {choice.n_above_chance} directions exceed chance"
    return panels.finish(figure, heading, 280, min_width=720)


@checked
def stability(atlas: Atlas, *, title: str | None = None) -> Figure:
    """Iq of every network, beside what noise gives.

    >>> figure = fbn.plot.stability(atlas)
    >>> figure.layout.title.text  # doctest: +ELLIPSIS
    'Stability of 8 networks; ... (orange) no more stable than noise'
    >>> bool((figure.data[0].y == atlas.stability).all())  # Iq of each network
    True

    Args:
        atlas: An atlas that :func:`tl_fbn.find_networks` made with ``n_restarts`` of 2 or more.
        title: Heading of the picture; by default the number of networks, and how many are no more stable than noise.

    Raises:
        InputError: The stability of the atlas was not measured.
    """
    if atlas.stability is None:
        raise InputError("this atlas has no stability; find networks with n_restarts of 2 or more")
    go, _ = theme.plotly()
    weak = set(atlas.unstable)
    names = list(atlas)
    p = [np.nan] * len(names) if atlas.stability_p is None else atlas.stability_p.tolist()
    colours = [theme.OKABE_ITO[1] if name in weak else theme.OKABE_ITO[0] for name in names]
    bar = go.Bar(
        x=np.arange(len(names)),
        y=atlas.stability,
        marker={"color": colours, "line": {"color": colours, "width": 2}},  # an Iq of 0 is a line, not nothing
        customdata=[
            f"{theme.verbatim(name)}<br>p {value:.3g} against noise" for name, value in zip(names, p, strict=True)
        ],
        hovertemplate="%{customdata}<br>Iq %{y:.3f}<extra></extra>",
    )
    figure = go.Figure(bar)
    turn = [0, -45, -90]
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=[theme.label(name, 14) for name in names],
        autotickangles=turn,
        showgrid=False,
    )
    figure.update_yaxes(title_text="Iq", range=[min(0.0, float(atlas.stability.min())), 1.03])
    heading = title or f"Stability of {len(names)} networks" + (
        f"; {len(weak)} (orange) no more stable than noise" if weak else ""
    )
    theme.finish(figure, heading, 240, min_width=160 + 22 * len(names))
    # a line at the 95th percentile of noise, where it was measured
    for level in [] if atlas.noise_iq is None else atlas.noise_iq[:1]:
        figure.add_hline(y=level, line={"dash": "dot", "color": "#444", "width": 1.5})
        where = {"x": 1, "xref": "x domain", "xanchor": "left", "y": level, "showarrow": False, "align": "left"}
        figure.add_annotation(text="95 % of<br>noise", font={"color": "#444"}, xshift=4, **where)
        figure.update_layout(margin_r=76)
    return figure
