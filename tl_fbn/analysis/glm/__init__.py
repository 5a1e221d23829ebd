"""The general linear model: the activations of every unit as a weighted sum of regressors, and tests of the weights.

Sums over rows in one pass (:mod:`.moments`), a fit of each run (:mod:`.run_fit`), contrasts at three levels
(:mod:`.contrast`), thresholds corrected for the number of units (:mod:`.multiple_testing`) and permutation tests
(:mod:`.permutation`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
