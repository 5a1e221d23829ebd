"""Three papers, three calls: each paper's settings, and its protocol from prompts to page on any model.

::

    study = fbn.papers.s1.run(model, tasks, "s1/", seed=0)   # goes on where it was interrupted
    study.claims                                             # claim, paper's figure, found, control, verdict
    study.report("s1.html")

====== ==========================================================================================================
``s0`` Liu et al. 2025: functional networks by ICA, what masking and keeping them does
``s1`` Song et al. 2024 (EMNLP): task neurons by the gradient at special tokens (CGVST), inhibited and amplified
``s2`` Nencka et al. 2023: block designs and a general linear model over every block's outputs
====== ==========================================================================================================

A protocol follows what its paper states, labels what it does not, and sets every claim beside a control that the paper
lacks. The settings by themselves are :class:`~tl_fbn.papers.Preset` objects, such as ``fbn.papers.s1.settings``, whose
parts can be passed on to this package's functions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
