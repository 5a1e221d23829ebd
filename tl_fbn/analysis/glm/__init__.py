"""The general linear model: what every unit does under every condition, tested.

Sums in one pass (:mod:`.moments`), a fit a run (:mod:`.run_fit`), contrasts at three levels (:mod:`.contrast`), thresholds
(:mod:`.multiple_testing`) and permutations (:mod:`.permutation`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
