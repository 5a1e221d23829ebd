"""Functional neuroimaging for language models: block designs, GLM networks, and interventions that test them.

::

    import tl_fbn as fbn

    model = fbn.demo.load_model()
    design = fbn.block_design({"sort": fbn.prompts("sort"), "rest": fbn.prompts("rest")}, seed=0)
    recording = fbn.Scanner(model).scan(design, "recordings/sort")
    network = fbn.fit_glm(recording).contrast("sort - rest").threshold(fdr=0.05)
    with fbn.inhibit(model, network):
        ...

Importing this module loads nothing heavy; every public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tl_fbn.intervention.parsers as parsers  # noqa: F401
    import tl_fbn.reporting.figures as plot  # noqa: F401
    from tl_fbn import demo as demo
    from tl_fbn import presets as presets
    from tl_fbn.acquisition.cache_view import activation_cache as activation_cache
    from tl_fbn.acquisition.design import BlockDesign as BlockDesign
    from tl_fbn.acquisition.design import block_design as block_design
    from tl_fbn.acquisition.design import read_prompts as read_prompts
    from tl_fbn.acquisition.events import read_events as read_events
    from tl_fbn.acquisition.events import write_events as write_events
    from tl_fbn.acquisition.recording import Recording as Recording
    from tl_fbn.acquisition.scanner import Scanner as Scanner
    from tl_fbn.acquisition.stimuli import chats as chats
    from tl_fbn.acquisition.stimuli import prompts as prompts
    from tl_fbn.analysis.choosing import ComponentChoice as ComponentChoice
    from tl_fbn.analysis.choosing import choose_components as choose_components
    from tl_fbn.analysis.comparison import conjunction as conjunction
    from tl_fbn.analysis.connectivity import Connectivity as Connectivity
    from tl_fbn.analysis.connectivity import connectivity as connectivity
    from tl_fbn.analysis.connectivity import sliding_connectivity as sliding_connectivity
    from tl_fbn.analysis.contrast import Contrast as Contrast
    from tl_fbn.analysis.contrast import FContrast as FContrast
    from tl_fbn.analysis.dual_regression import SampleMaps as SampleMaps
    from tl_fbn.analysis.dual_regression import dual_regression as dual_regression
    from tl_fbn.analysis.efficiency import efficiency as efficiency
    from tl_fbn.analysis.efficiency import vif as vif
    from tl_fbn.analysis.fingerprint import Fingerprint as Fingerprint
    from tl_fbn.analysis.fingerprint import calibrate as calibrate
    from tl_fbn.analysis.fingerprint import fingerprint as fingerprint
    from tl_fbn.analysis.glm import GLMFit as GLMFit
    from tl_fbn.analysis.glm import fit_glm as fit_glm
    from tl_fbn.analysis.ica import find_networks as find_networks
    from tl_fbn.analysis.identification import Identification as Identification
    from tl_fbn.analysis.identification import identify_task as identify_task
    from tl_fbn.analysis.identification import reliability as reliability
    from tl_fbn.analysis.leakage import estimate_leak as estimate_leak
    from tl_fbn.analysis.localizers import activation_difference as activation_difference
    from tl_fbn.analysis.localizers import lape as lape
    from tl_fbn.analysis.localizers import welch_t as welch_t
    from tl_fbn.analysis.matching import match_networks as match_networks
    from tl_fbn.analysis.ordering import optimise_order as optimise_order
    from tl_fbn.analysis.overlap import Overlap as Overlap
    from tl_fbn.analysis.overlap import concordance as concordance
    from tl_fbn.analysis.overlap import overlap as overlap
    from tl_fbn.analysis.permutation import PermutationTest as PermutationTest
    from tl_fbn.analysis.permutation import max_t as max_t
    from tl_fbn.analysis.recurrence import Recurrence as Recurrence
    from tl_fbn.analysis.recurrence import recurrence as recurrence
    from tl_fbn.analysis.regressors import design_matrix as design_matrix
    from tl_fbn.analysis.regressors import from_token as from_token
    from tl_fbn.analysis.rotating import rotated_basis as rotated_basis
    from tl_fbn.analysis.specificity import multiplicity as multiplicity
    from tl_fbn.analysis.specificity import shared_core as shared_core
    from tl_fbn.analysis.specificity import specific_scores as specific_scores
    from tl_fbn.analysis.specificity import task_unique as task_unique
    from tl_fbn.analysis.time_courses import time_courses as time_courses
    from tl_fbn.attribution.baselines import attribution_patching as attribution_patching
    from tl_fbn.attribution.baselines import gradient_x_activation as gradient_x_activation
    from tl_fbn.attribution.baselines import integrated_gradients as integrated_gradients
    from tl_fbn.attribution.baselines import random_scores as random_scores
    from tl_fbn.attribution.baselines import taylor as taylor
    from tl_fbn.attribution.cgvst import cgvst as cgvst
    from tl_fbn.attribution.cgvst import item_scores as item_scores
    from tl_fbn.attribution.layout import TokenLayout as TokenLayout
    from tl_fbn.attribution.scores import ItemScores as ItemScores
    from tl_fbn.attribution.shots import Example as Example
    from tl_fbn.attribution.shots import few_shot_chats as few_shot_chats
    from tl_fbn.attribution.shots import read_examples as read_examples
    from tl_fbn.attribution.tokens import token_layout as token_layout
    from tl_fbn.intervention.battery import Battery as Battery
    from tl_fbn.intervention.calibration import calibrate_gain as calibrate_gain
    from tl_fbn.intervention.calibration_results import GainCalibration as GainCalibration
    from tl_fbn.intervention.causal import causal_check as causal_check
    from tl_fbn.intervention.checkpoint import load_pruned as load_pruned
    from tl_fbn.intervention.controls import lowest_ranked as lowest_ranked
    from tl_fbn.intervention.controls import matched_controls as matched_controls
    from tl_fbn.intervention.controls import unit_features as unit_features
    from tl_fbn.intervention.controls import untrained as untrained
    from tl_fbn.intervention.dose import DoseResponse as DoseResponse
    from tl_fbn.intervention.dose import dose_response as dose_response
    from tl_fbn.intervention.finetuning import only_network as only_network
    from tl_fbn.intervention.harness import evaluate_harness as evaluate_harness
    from tl_fbn.intervention.hooks import Intervention as Intervention
    from tl_fbn.intervention.hooks import amplify as amplify
    from tl_fbn.intervention.hooks import clamp as clamp
    from tl_fbn.intervention.hooks import inhibit as inhibit
    from tl_fbn.intervention.hooks import retain as retain
    from tl_fbn.intervention.lesion import LesionPlan as LesionPlan
    from tl_fbn.intervention.lesion import lesion_study as lesion_study
    from tl_fbn.intervention.lesion import plan_lesions as plan_lesions
    from tl_fbn.intervention.lesion_results import LesionStudy as LesionStudy
    from tl_fbn.intervention.monitors import monitor as monitor
    from tl_fbn.intervention.prune import prune as prune
    from tl_fbn.intervention.prune_ratio import keep_for_ratio as keep_for_ratio
    from tl_fbn.intervention.pruned import PruneReport as PruneReport
    from tl_fbn.intervention.responses import Responses as Responses
    from tl_fbn.intervention.responses import judge as judge
    from tl_fbn.intervention.retention import retention_curve as retention_curve
    from tl_fbn.intervention.token_ablation import token_ablation as token_ablation
    from tl_fbn.intervention.validation import Validation as Validation
    from tl_fbn.intervention.validation import validate_scores as validate_scores
    from tl_fbn.reporting.page import Report as Report
    from tl_fbn.reporting.page import Section as Section
    from tl_fbn.reporting.saved import load as load
    from tl_fbn.reporting.saved import load_results as load_results
    from tl_fbn.reporting.viewer import Viewer as Viewer
    from tl_fbn.reporting.viewer import view as view
    from tl_fbn.units import Atlas as Atlas
    from tl_fbn.units import Network as Network
    from tl_fbn.units import UnitMap as UnitMap
    from tl_fbn.units import UnitSpace as UnitSpace

_HOMES = {
    "tl_fbn.units": ("Atlas", "Network", "UnitMap", "UnitSpace"),
    "tl_fbn.acquisition.cache_view": ("activation_cache",),
    "tl_fbn.acquisition.events": ("read_events", "write_events"),
    "tl_fbn.acquisition.design": ("BlockDesign", "block_design", "read_prompts"),
    "tl_fbn.acquisition.recording": ("Recording",),
    "tl_fbn.acquisition.scanner": ("Scanner",),
    "tl_fbn.acquisition.stimuli": ("chats", "prompts"),
    "tl_fbn.analysis.comparison": ("conjunction",),
    "tl_fbn.analysis.choosing": (
        "ComponentChoice",
        "choose_components",
    ),
    "tl_fbn.analysis.connectivity": (
        "Connectivity",
        "connectivity",
        "sliding_connectivity",
    ),
    "tl_fbn.analysis.dual_regression": (
        "SampleMaps",
        "dual_regression",
    ),
    "tl_fbn.analysis.fingerprint": (
        "Fingerprint",
        "calibrate",
        "fingerprint",
    ),
    "tl_fbn.analysis.matching": ("match_networks",),
    "tl_fbn.analysis.recurrence": (
        "Recurrence",
        "recurrence",
    ),
    "tl_fbn.intervention.retention": ("retention_curve",),
    "tl_fbn.analysis.contrast": ("Contrast", "FContrast"),
    "tl_fbn.analysis.glm": ("GLMFit", "fit_glm"),
    "tl_fbn.analysis.efficiency": ("efficiency", "vif"),
    "tl_fbn.analysis.ica": ("find_networks",),
    "tl_fbn.analysis.identification": ("Identification", "identify_task", "reliability"),
    "tl_fbn.analysis.leakage": ("estimate_leak",),
    "tl_fbn.analysis.localizers": ("activation_difference", "lape", "welch_t"),
    "tl_fbn.analysis.ordering": ("optimise_order",),
    "tl_fbn.analysis.overlap": ("Overlap", "concordance", "overlap"),
    "tl_fbn.analysis.permutation": ("PermutationTest", "max_t"),
    "tl_fbn.analysis.regressors": ("design_matrix", "from_token"),
    "tl_fbn.analysis.rotating": ("rotated_basis",),
    "tl_fbn.analysis.specificity": ("multiplicity", "shared_core", "specific_scores", "task_unique"),
    "tl_fbn.analysis.time_courses": ("time_courses",),
    "tl_fbn.attribution.baselines": (
        "attribution_patching",
        "gradient_x_activation",
        "integrated_gradients",
        "random_scores",
        "taylor",
    ),
    "tl_fbn.attribution.cgvst": ("cgvst", "item_scores"),
    "tl_fbn.attribution.layout": ("TokenLayout",),
    "tl_fbn.attribution.scores": ("ItemScores",),
    "tl_fbn.attribution.shots": ("Example", "few_shot_chats", "read_examples"),
    "tl_fbn.attribution.tokens": ("token_layout",),
    "tl_fbn.intervention.battery": ("Battery",),
    "tl_fbn.intervention.dose": ("DoseResponse", "dose_response"),
    "tl_fbn.intervention.harness": ("evaluate_harness",),
    "tl_fbn.intervention.monitors": ("monitor",),
    "tl_fbn.intervention.calibration": ("calibrate_gain",),
    "tl_fbn.intervention.calibration_results": ("GainCalibration",),
    "tl_fbn.intervention.causal": ("causal_check",),
    "tl_fbn.intervention.checkpoint": ("load_pruned",),
    "tl_fbn.intervention.finetuning": ("only_network",),
    "tl_fbn.intervention.prune": ("prune",),
    "tl_fbn.intervention.prune_ratio": ("keep_for_ratio",),
    "tl_fbn.intervention.pruned": ("PruneReport",),
    "tl_fbn.intervention.responses": ("Responses", "judge"),
    "tl_fbn.intervention.hooks": ("Intervention", "amplify", "clamp", "inhibit", "retain"),
    "tl_fbn.intervention.controls": ("lowest_ranked", "matched_controls", "unit_features", "untrained"),
    "tl_fbn.intervention.lesion": ("LesionPlan", "lesion_study", "plan_lesions"),
    "tl_fbn.intervention.lesion_results": ("LesionStudy",),
    "tl_fbn.intervention.token_ablation": ("token_ablation",),
    "tl_fbn.intervention.validation": ("Validation", "validate_scores"),
    "tl_fbn.reporting.page": ("Report", "Section"),
    "tl_fbn.reporting.saved": ("load", "load_results"),
    "tl_fbn.reporting.viewer": ("Viewer", "view"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {
    "demo": "tl_fbn.demo",
    "presets": "tl_fbn.presets",
    "plot": "tl_fbn.reporting.figures",
    "parsers": "tl_fbn.intervention.parsers",
}

__all__ = [*_HOME_OF, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'tl_fbn' has no attribute {name!r}; public names: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
