"""Independent component analysis: networks that are there without asking for a task.

The steps of :func:`tl_fbn.find_networks`, a file each: reduction of the recording to its leading singular vectors
(:mod:`.reduction`; :mod:`.group_ica` for the subspace that runs share), rotation to independent maps (:mod:`.fastica`),
stability of the networks over resampled analyses (:mod:`.icasso`), and which units belong to a network
(:mod:`.membership`). :mod:`.model_order` proposes how many networks to look for; :mod:`.rotated_basis` is the control
for claims about single units.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
