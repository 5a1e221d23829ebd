"""Controlled studies of what a network does for behaviour.

A network is inhibited, amplified or kept alone while a battery is scored item by item, and the same is done with
matched random networks: what a change is worth shows only beside what theirs is. The lesion study (:mod:`.lesion`) is
the plain case; the other modules vary the dose, the size of an atlas, the map that names the units, or the tokens it
was made on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
