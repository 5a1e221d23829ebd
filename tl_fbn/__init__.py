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
    import tl_fbn.intervention.behaviour.parsers as parsers  # noqa: F401
    import tl_fbn.reporting.plot as plot  # noqa: F401
    from tl_fbn import demo as demo
    from tl_fbn import presets as presets
    from tl_fbn.acquisition.design.block_design import BlockDesign as BlockDesign
    from tl_fbn.acquisition.design.block_design import block_design as block_design
    from tl_fbn.acquisition.design.block_design import read_prompts as read_prompts
    from tl_fbn.acquisition.design.stimuli import chats as chats
    from tl_fbn.acquisition.design.stimuli import prompts as prompts
    from tl_fbn.acquisition.model.chat_template import token_layout as token_layout
    from tl_fbn.acquisition.model.token_layout import TokenLayout as TokenLayout
    from tl_fbn.acquisition.recording.bids_events import read_events as read_events
    from tl_fbn.acquisition.recording.bids_events import write_events as write_events
    from tl_fbn.acquisition.recording.recording import Recording as Recording
    from tl_fbn.acquisition.scan.activation_cache import activation_cache as activation_cache
    from tl_fbn.acquisition.scan.scanner import Scanner as Scanner
    from tl_fbn.analysis.glm.contrast import Contrast as Contrast
    from tl_fbn.analysis.glm.contrast import FContrast as FContrast
    from tl_fbn.analysis.glm.design_matrix import design_matrix as design_matrix
    from tl_fbn.analysis.glm.design_matrix import from_token as from_token
    from tl_fbn.analysis.glm.efficiency import efficiency as efficiency
    from tl_fbn.analysis.glm.efficiency import vif as vif
    from tl_fbn.analysis.glm.fit import GLMFit as GLMFit
    from tl_fbn.analysis.glm.fit import fit_glm as fit_glm
    from tl_fbn.analysis.glm.leak_kernel import estimate_leak as estimate_leak
    from tl_fbn.analysis.glm.localizers import activation_difference as activation_difference
    from tl_fbn.analysis.glm.localizers import lape as lape
    from tl_fbn.analysis.glm.localizers import welch_t as welch_t
    from tl_fbn.analysis.glm.order_search import optimise_order as optimise_order
    from tl_fbn.analysis.glm.permutation import PermutationTest as PermutationTest
    from tl_fbn.analysis.glm.permutation import max_t as max_t
    from tl_fbn.analysis.ica.find_networks import find_networks as find_networks
    from tl_fbn.analysis.ica.model_order import ComponentChoice as ComponentChoice
    from tl_fbn.analysis.ica.model_order import choose_components as choose_components
    from tl_fbn.analysis.ica.rotated_basis import rotated_basis as rotated_basis
    from tl_fbn.analysis.networks.conjunction import conjunction as conjunction
    from tl_fbn.analysis.networks.connectivity import Connectivity as Connectivity
    from tl_fbn.analysis.networks.connectivity import connectivity as connectivity
    from tl_fbn.analysis.networks.connectivity import sliding_connectivity as sliding_connectivity
    from tl_fbn.analysis.networks.dual_regression import SampleMaps as SampleMaps
    from tl_fbn.analysis.networks.dual_regression import dual_regression as dual_regression
    from tl_fbn.analysis.networks.fingerprint import Fingerprint as Fingerprint
    from tl_fbn.analysis.networks.fingerprint import calibrate as calibrate
    from tl_fbn.analysis.networks.fingerprint import fingerprint as fingerprint
    from tl_fbn.analysis.networks.identification import Identification as Identification
    from tl_fbn.analysis.networks.identification import identify_task as identify_task
    from tl_fbn.analysis.networks.identification import reliability as reliability
    from tl_fbn.analysis.networks.matching import match_networks as match_networks
    from tl_fbn.analysis.networks.overlap import Overlap as Overlap
    from tl_fbn.analysis.networks.overlap import concordance as concordance
    from tl_fbn.analysis.networks.overlap import overlap as overlap
    from tl_fbn.analysis.networks.recurrence import Recurrence as Recurrence
    from tl_fbn.analysis.networks.recurrence import recurrence as recurrence
    from tl_fbn.analysis.networks.specificity import multiplicity as multiplicity
    from tl_fbn.analysis.networks.specificity import shared_core as shared_core
    from tl_fbn.analysis.networks.specificity import specific_scores as specific_scores
    from tl_fbn.analysis.networks.specificity import task_unique as task_unique
    from tl_fbn.analysis.networks.time_courses import time_courses as time_courses
    from tl_fbn.attribution.cgvst import cgvst as cgvst
    from tl_fbn.attribution.cgvst import item_scores as item_scores
    from tl_fbn.attribution.few_shot import Example as Example
    from tl_fbn.attribution.few_shot import few_shot_chats as few_shot_chats
    from tl_fbn.attribution.few_shot import read_examples as read_examples
    from tl_fbn.attribution.item_scores import ItemScores as ItemScores
    from tl_fbn.attribution.rivals import attribution_patching as attribution_patching
    from tl_fbn.attribution.rivals import gradient_x_activation as gradient_x_activation
    from tl_fbn.attribution.rivals import integrated_gradients as integrated_gradients
    from tl_fbn.attribution.rivals import random_scores as random_scores
    from tl_fbn.attribution.rivals import taylor as taylor
    from tl_fbn.intervention.behaviour.battery import Battery as Battery
    from tl_fbn.intervention.behaviour.free_responses import Responses as Responses
    from tl_fbn.intervention.behaviour.free_responses import judge as judge
    from tl_fbn.intervention.behaviour.lm_eval import evaluate_harness as evaluate_harness
    from tl_fbn.intervention.behaviour.output_checks import monitor as monitor
    from tl_fbn.intervention.hooks.interventions import Intervention as Intervention
    from tl_fbn.intervention.hooks.interventions import amplify as amplify
    from tl_fbn.intervention.hooks.interventions import clamp as clamp
    from tl_fbn.intervention.hooks.interventions import inhibit as inhibit
    from tl_fbn.intervention.hooks.interventions import retain as retain
    from tl_fbn.intervention.pruning.checkpoint import load_pruned as load_pruned
    from tl_fbn.intervention.pruning.finetuning import only_network as only_network
    from tl_fbn.intervention.pruning.prune import prune as prune
    from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio as keep_for_ratio
    from tl_fbn.intervention.pruning.prune_report import PruneReport as PruneReport
    from tl_fbn.intervention.studies.causal_check import causal_check as causal_check
    from tl_fbn.intervention.studies.controls import lowest_ranked as lowest_ranked
    from tl_fbn.intervention.studies.controls import matched_controls as matched_controls
    from tl_fbn.intervention.studies.controls import unit_features as unit_features
    from tl_fbn.intervention.studies.controls import untrained as untrained
    from tl_fbn.intervention.studies.dose_response import DoseResponse as DoseResponse
    from tl_fbn.intervention.studies.dose_response import dose_response as dose_response
    from tl_fbn.intervention.studies.gain_calibration import calibrate_gain as calibrate_gain
    from tl_fbn.intervention.studies.gain_calibration_results import GainCalibration as GainCalibration
    from tl_fbn.intervention.studies.lesion import LesionPlan as LesionPlan
    from tl_fbn.intervention.studies.lesion import lesion_study as lesion_study
    from tl_fbn.intervention.studies.lesion import plan_lesions as plan_lesions
    from tl_fbn.intervention.studies.lesion_results import LesionStudy as LesionStudy
    from tl_fbn.intervention.studies.retention import retention_curve as retention_curve
    from tl_fbn.intervention.studies.score_validation import Validation as Validation
    from tl_fbn.intervention.studies.score_validation import validate_scores as validate_scores
    from tl_fbn.intervention.studies.token_ablation import token_ablation as token_ablation
    from tl_fbn.reporting.page.report import Report as Report
    from tl_fbn.reporting.page.report import Section as Section
    from tl_fbn.reporting.viewer.viewer import Viewer as Viewer
    from tl_fbn.reporting.viewer.viewer import view as view
    from tl_fbn.results import load as load
    from tl_fbn.results import load_results as load_results
    from tl_fbn.units import Atlas as Atlas
    from tl_fbn.units import Network as Network
    from tl_fbn.units import UnitMap as UnitMap
    from tl_fbn.units import UnitSpace as UnitSpace

_HOMES = {
    "tl_fbn.units": ("Atlas", "Network", "UnitMap", "UnitSpace"),
    "tl_fbn.acquisition.scan.activation_cache": ("activation_cache",),
    "tl_fbn.acquisition.recording.bids_events": ("read_events", "write_events"),
    "tl_fbn.acquisition.design.block_design": ("BlockDesign", "block_design", "read_prompts"),
    "tl_fbn.acquisition.recording.recording": ("Recording",),
    "tl_fbn.acquisition.scan.scanner": ("Scanner",),
    "tl_fbn.acquisition.design.stimuli": ("chats", "prompts"),
    "tl_fbn.analysis.networks.conjunction": ("conjunction",),
    "tl_fbn.analysis.ica.model_order": (
        "ComponentChoice",
        "choose_components",
    ),
    "tl_fbn.analysis.networks.connectivity": (
        "Connectivity",
        "connectivity",
        "sliding_connectivity",
    ),
    "tl_fbn.analysis.networks.dual_regression": (
        "SampleMaps",
        "dual_regression",
    ),
    "tl_fbn.analysis.networks.fingerprint": (
        "Fingerprint",
        "calibrate",
        "fingerprint",
    ),
    "tl_fbn.analysis.networks.matching": ("match_networks",),
    "tl_fbn.analysis.networks.recurrence": (
        "Recurrence",
        "recurrence",
    ),
    "tl_fbn.intervention.studies.retention": ("retention_curve",),
    "tl_fbn.analysis.glm.contrast": ("Contrast", "FContrast"),
    "tl_fbn.analysis.glm.fit": ("GLMFit", "fit_glm"),
    "tl_fbn.analysis.glm.efficiency": ("efficiency", "vif"),
    "tl_fbn.analysis.ica.find_networks": ("find_networks",),
    "tl_fbn.analysis.networks.identification": ("Identification", "identify_task", "reliability"),
    "tl_fbn.analysis.glm.leak_kernel": ("estimate_leak",),
    "tl_fbn.analysis.glm.localizers": ("activation_difference", "lape", "welch_t"),
    "tl_fbn.analysis.glm.order_search": ("optimise_order",),
    "tl_fbn.analysis.networks.overlap": ("Overlap", "concordance", "overlap"),
    "tl_fbn.analysis.glm.permutation": ("PermutationTest", "max_t"),
    "tl_fbn.analysis.glm.design_matrix": ("design_matrix", "from_token"),
    "tl_fbn.analysis.ica.rotated_basis": ("rotated_basis",),
    "tl_fbn.analysis.networks.specificity": ("multiplicity", "shared_core", "specific_scores", "task_unique"),
    "tl_fbn.analysis.networks.time_courses": ("time_courses",),
    "tl_fbn.attribution.rivals": (
        "attribution_patching",
        "gradient_x_activation",
        "integrated_gradients",
        "random_scores",
        "taylor",
    ),
    "tl_fbn.attribution.cgvst": ("cgvst", "item_scores"),
    "tl_fbn.acquisition.model.token_layout": ("TokenLayout",),
    "tl_fbn.attribution.item_scores": ("ItemScores",),
    "tl_fbn.attribution.few_shot": ("Example", "few_shot_chats", "read_examples"),
    "tl_fbn.acquisition.model.chat_template": ("token_layout",),
    "tl_fbn.intervention.behaviour.battery": ("Battery",),
    "tl_fbn.intervention.studies.dose_response": ("DoseResponse", "dose_response"),
    "tl_fbn.intervention.behaviour.lm_eval": ("evaluate_harness",),
    "tl_fbn.intervention.behaviour.output_checks": ("monitor",),
    "tl_fbn.intervention.studies.gain_calibration": ("calibrate_gain",),
    "tl_fbn.intervention.studies.gain_calibration_results": ("GainCalibration",),
    "tl_fbn.intervention.studies.causal_check": ("causal_check",),
    "tl_fbn.intervention.pruning.checkpoint": ("load_pruned",),
    "tl_fbn.intervention.pruning.finetuning": ("only_network",),
    "tl_fbn.intervention.pruning.prune": ("prune",),
    "tl_fbn.intervention.pruning.prune_ratio": ("keep_for_ratio",),
    "tl_fbn.intervention.pruning.prune_report": ("PruneReport",),
    "tl_fbn.intervention.behaviour.free_responses": ("Responses", "judge"),
    "tl_fbn.intervention.hooks.interventions": ("Intervention", "amplify", "clamp", "inhibit", "retain"),
    "tl_fbn.intervention.studies.controls": ("lowest_ranked", "matched_controls", "unit_features", "untrained"),
    "tl_fbn.intervention.studies.lesion": ("LesionPlan", "lesion_study", "plan_lesions"),
    "tl_fbn.intervention.studies.lesion_results": ("LesionStudy",),
    "tl_fbn.intervention.studies.token_ablation": ("token_ablation",),
    "tl_fbn.intervention.studies.score_validation": ("Validation", "validate_scores"),
    "tl_fbn.reporting.page.report": ("Report", "Section"),
    "tl_fbn.results": ("load", "load_results"),
    "tl_fbn.reporting.viewer.viewer": ("Viewer", "view"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {
    "demo": "tl_fbn.demo",
    "presets": "tl_fbn.presets",
    "plot": "tl_fbn.reporting.plot",
    "parsers": "tl_fbn.intervention.behaviour.parsers",
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
