"""Functional neuroimaging for language models: block designs, GLM networks, and interventions that test them.

A typical analysis, on the small model that comes with the package. The examples of all docstrings go on from these
lines (``np`` is numpy, ``pd`` is pandas) and need no internet connection:

>>> import tl_fbn as fbn
>>> model = fbn.demo.load_model()
>>> tasks = {name: fbn.prompts(name) for name in ("sort", "reverse", "add")}
>>> design = fbn.block_design(tasks, n_runs=2, n_cycles=4, seed=0)
>>> recording = fbn.Scanner(model).scan(design, "recordings/tasks", progress=False)
>>> contrast = fbn.fit_glm(recording).contrast("sort - reverse")
>>> network = contrast.threshold(top=0.02)
>>> network
Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 18 5 0
>>> atlas = fbn.find_networks(recording, n_components=8, n_restarts=3, seed=0)
>>> battery = fbn.demo.battery(n=10).select(["sort", "reverse"])

Read from top to bottom: prompts of three tasks are shown in alternating blocks (``design``), the activations of every
unit are recorded (``recording``), a linear model finds the units that are more active in one task than in another
(``contrast``, ``network``), independent component analysis finds networks without being told the tasks (``atlas``), and
questions with right answers (``battery``) show what a task loses when its network is silenced (``fbn.lesion_study``).

Functions and classes of daily use are in ``fbn``; all others are in the namespace of their folder: ``fbn.glm``,
``fbn.ica``, ``fbn.networks``, ``fbn.attribution``, ``fbn.hooks``, ``fbn.behaviour``, ``fbn.studies``,
``fbn.pruning``, ``fbn.plot``, ``fbn.papers``, ``fbn.demo``. The list of public names is the file ``__init__.pyi``
beside this one. Importing the package is quick: every name is loaded when it is first used.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _imported(name)
    if name == "__version__":  # read when asked for: importlib.metadata is slow to import
        from importlib.metadata import version

        return version("tl-fbn")
    raise AttributeError(f"module 'tl_fbn' has no attribute {name!r}; public names: {', '.join(sorted(__all__))}")
