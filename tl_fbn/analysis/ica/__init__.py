"""Independent component analysis: networks that are there without asking for a task.

Reduction (:mod:`.reduction`), rotation (:mod:`.fastica`), stability (:mod:`.icasso`), membership (:mod:`.membership`), and how many
(:mod:`.model_order`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
