"""Functions that draw or write pages, and arguments with which they return."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import tl_fbn as fbn
from tests.helpers import results as made
from tests.helpers.materials import CHATS, Subject
from tests.helpers.random_lesions import lesion_map_of


def of_pages(m: SimpleNamespace) -> dict[str, Subject]:
    """Name to subject.

    Args:
        m: What :func:`tests.helpers.materials.materials` made.
    """
    return {
        # reports
        "Report": Subject.of(
            _report,
            title="x",
            result=m.contrast,
            intro=None,
            methods=True,
            provenance=True,
            sources=(),
            model=None,
            promoted=None,
        ),
        "Report.save": Subject.of(fbn.Report("x", m.network).save, path=m.folder / "page.html"),
        "Section": Subject.of(_section, title="x", text="y", figure=None, table=None, html=None),
        "view": Subject.of(
            fbn.view,
            recording=m.stored,
            networks=m.network,
            maps=m.scores,
            units=None,
            promoted=None,
            title=None,
            run=None,
            max_units=20,
            megabytes=8.0,
        ),
        "Viewer.save": Subject.of(fbn.view(m.stored, m.network).save, path=m.folder / "viewer.html"),
        "Preset.on": Subject.of(fbn.papers.s1.settings.on, model=fbn.demo.load_model()),
        "PaperStudy.report": Subject.of(made.paper_study().report, path=m.folder / "paper.html"),
        "PaperStudy.table": Subject.of(made.paper_study().table, name="square"),
        "Preset.sites": Subject.of(fbn.papers.s1.settings.sites, model=m.model),
        # papers: their plans, as a whole run takes seconds
        "papers.s0.run": Subject.of(
            partial(fbn.papers.s0.run, plan=True),
            model=fbn.demo.load_model(),
            tasks=fbn.demo.tasks(n=60).select(["sort", "add"]),
            path=m.folder / "s0",
            seed=0,
            quick=True,
            progress=False,
        ),
        "papers.s1.run": Subject.of(
            partial(fbn.papers.s1.run, plan=True),
            model=fbn.demo.load_model(),
            tasks=fbn.demo.tasks(n=10, chat=True).select(["sort", "add", "upper"]),
            path=m.folder / "s1",
            seed=0,
            quick=True,
            progress=False,
        ),
        "papers.s2.run": Subject.of(
            partial(fbn.papers.s2.run, plan=True),
            model=fbn.demo.load_model(),
            topics=fbn.demo.topics(),
            path=m.folder / "s2",
            seed=0,
            related=None,
            quick=True,
            progress=False,
        ),
        "plot.paper_claims": Subject.of(fbn.plot.paper_claims, study=made.paper_study()),
        "plot.paper_table": Subject.of(fbn.plot.paper_table, study=made.paper_study(), name="square"),
        # the demo
        "demo.topics": Subject.of(fbn.demo.topics, seed=0),
        "demo.battery": Subject.of(fbn.demo.battery, n=2, seed=0),
        "demo.tasks": Subject.of(fbn.demo.tasks, n=2, chat=True, seed=0),
        "demo.load_model": Subject.of(fbn.demo.load_model, device="cpu"),
        "load_model": Subject.of(
            fbn.load_model, name_or_path="demo", dtype="auto", device="cpu", label=None, progress=False
        ),
        # pictures
        "plot.amplification": Subject.of(fbn.plot.amplification, table=m.dose.to_dataframe()),
        "plot.collapse": Subject.of(fbn.plot.collapse, found=made.collapse()),
        "plot.component_choice": Subject.of(
            fbn.plot.component_choice,
            choice=fbn.choose_components(m.stored, [2, 3], seed=0, n_restarts=2, progress=False),
            title=None,
        ),
        "plot.concordance": Subject.of(
            fbn.plot.concordance, compared=fbn.concordance(m.maps, seed=0, n_null=20), title=None
        ),
        "plot.confusion_matrix": Subject.of(fbn.plot.confusion_matrix, identification=made.results()[5], title=None),
        "plot.connectivity": Subject.of(fbn.plot.connectivity, connectivity=made.results()[4], title=None),
        "plot.contrast": Subject.of(fbn.plot.contrast, contrast=m.contrast, fdr=0.05, fwe=None, title=None),
        "plot.design_efficiency": Subject.of(
            fbn.plot.design_efficiency, designs=list(m.fit.designs), contrasts="a - b", title=None
        ),
        "plot.design_matrix": Subject.of(fbn.plot.design_matrix, design=m.fit, run=0, contrasts=(), title=None),
        "plot.dissociation": Subject.of(
            fbn.plot.dissociation, study=made.study(), pairs=None, metric=None, control=None
        ),
        "plot.dose_response": Subject.of(fbn.plot.dose_response, dose=m.dose),
        "plot.fingerprint": Subject.of(fbn.plot.fingerprint, found=made.results()[6], threshold=None),
        "plot.gain_calibration": Subject.of(fbn.plot.gain_calibration, calibration=m.gain),
        "plot.inter_model_correlation": Subject.of(
            fbn.plot.inter_model_correlation, found=made.inter_model_correlation()
        ),
        "plot.layer_profile": Subject.of(fbn.plot.layer_profile, networks=m.networks, share=True, title=None),
        "plot.lesion_controls": Subject.of(
            fbn.plot.lesion_controls, study=made.study(), tasks=None, metric=None, control=None
        ),
        "plot.lesion_map": Subject.of(fbn.plot.lesion_map, found=lesion_map_of()),
        "plot.lesion_matrix": Subject.of(fbn.plot.lesion_matrix, study=m.study, metrics=None),
        "plot.massive": Subject.of(fbn.plot.massive, found=m.stored.massive(), title=None),
        "plot.null_check": Subject.of(fbn.plot.null_check, check=made.null_check()),
        "plot.overlap_matrix": Subject.of(
            fbn.plot.overlap_matrix, networks=m.networks, seed=None, n_null=20, title=None
        ),
        "plot.prune": Subject.of(
            fbn.plot.prune,
            report=m.pruned.report if hasattr(m.pruned, "report") else made.results()[7],
            before=None,
            after=None,
            seconds=None,
        ),
        "plot.recurrence": Subject.of(fbn.plot.recurrence, recurrence=made.results()[3], title=None),
        "plot.retention_curve": Subject.of(
            fbn.plot.retention_curve,
            retention=fbn.studies.retention_curve(m.model, m.atlas, m.battery, seed=0, n_controls=2, progress=False),
            mode=None,
        ),
        "plot.second_level": Subject.of(fbn.plot.second_level, found=made.of_models()),
        "plot.shapley": Subject.of(fbn.plot.shapley, values=made.shapley_values()),
        "plot.score_validation": Subject.of(fbn.plot.score_validation, validation=made.results()[-1]),
        "plot.special_tokens": Subject.of(
            fbn.plot.special_tokens,
            ablation=fbn.studies.token_ablation(
                m.demo,
                {"sort": CHATS, "reverse": fbn.chats("reverse", n=2)},
                m.worded,
                seed=0,
                tokens=("special",),
                variants=("row_l1",),
                n_controls=2,
                alpha=0.5,
                n_bootstrap=20,
                progress=False,
            ),
        ),
        "plot.stability": Subject.of(fbn.plot.stability, atlas=m.atlas, title=None),
        "plot.time_courses": Subject.of(
            fbn.plot.time_courses,
            recording=m.stored,
            networks=m.network,
            run=0,
            rows=None,
            standardize=False,
            signed=True,
            title=None,
        ),
        "plot.token_strip": Subject.of(fbn.plot.token_strip, layout=m.layout, values=None, unit="value", wrap=90),
        "plot.unit_map": Subject.of(fbn.plot.unit_map, maps=m.scores, title=None, networks=None, order="index"),
    }


def _report(title: Any, result: Any, **options: Any) -> str:
    """A page of one result, as text."""
    return fbn.Report(title, result, **options).to_html()


def _section(**fields: Any) -> str:
    """A page of one section, as text."""
    from tl_fbn.reporting import Section

    return fbn.Report("x", Section(**fields)).to_html()
