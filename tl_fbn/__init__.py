"""Functional neuroimaging for language models: block designs, GLM networks, and interventions that test them.

The examples of all docstrings go on from these lines; ``np`` is numpy and ``pd`` is pandas. They need no network.

>>> import tl_fbn as fbn
>>> model = fbn.demo.load_model()
>>> tasks = {name: fbn.prompts(name) for name in ("sort", "reverse", "add")}
>>> design = fbn.block_design(tasks, n_runs=2, n_cycles=4, seed=0)
>>> recording = fbn.Scanner(model).scan(design, "recordings/tasks", progress=False)
>>> contrast = fbn.fit_glm(recording).contrast("sort - reverse")
>>> network = contrast.threshold(top=0.02)
>>> network
Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 19 4 0
>>> atlas = fbn.find_networks(recording, n_components=8, n_restarts=3, seed=0)
>>> battery = fbn.demo.battery(n=10).select(["sort", "reverse"])

What is used daily is here; every verb and noun is in the namespace of its folder: ``fbn.glm``, ``fbn.ica``, ``fbn.networks``, ``fbn.attribution``,
``fbn.hooks``, ``fbn.behaviour``, ``fbn.studies``, ``fbn.pruning``, ``fbn.plot``, ``fbn.presets``, ``fbn.demo``. ``__init__.pyi`` beside this file is the only list
of public names. Importing this module loads nothing heavy; every name is imported when it is first used.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _imported(name)
    if name == "__version__":
        from importlib.metadata import version

        return version("tl-fbn")
    raise AttributeError(f"module 'tl_fbn' has no attribute {name!r}; public names: {', '.join(sorted(__all__))}")
