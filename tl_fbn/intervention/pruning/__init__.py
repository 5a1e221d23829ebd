"""Smaller models: all but a network is cut out of the weights, and the result is checked against the masked model.

Fine-tuning of a network alone is here, too: both change weights, where interventions change activations.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
