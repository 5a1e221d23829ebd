"""Smaller models: all but a network taken out of the weights, checked against the masked model; and fine-tuning of a network alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
