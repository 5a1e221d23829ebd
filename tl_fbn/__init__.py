"""Functional neuroimaging for language models: block designs, GLM networks, and interventions that test them.

::

    import tl_fbn as fbn

    model = fbn.demo.load_model()
    design = fbn.block_design({"sort": fbn.prompts("sort"), "reverse": fbn.prompts("reverse")}, seed=0)
    recording = fbn.Scanner(model).scan(design, "recordings/sort")
    network = fbn.fit_glm(recording).contrast("sort - reverse").threshold(fdr=0.05)
    with fbn.inhibit(model, network):
        ...

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
