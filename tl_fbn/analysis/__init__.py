"""Analyses of recordings: they take activations and return maps and networks, and never run a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
