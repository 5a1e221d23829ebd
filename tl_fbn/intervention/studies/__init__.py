"""Controlled studies: a network is changed, behaviour is scored item by item, and matched controls say what that is worth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
