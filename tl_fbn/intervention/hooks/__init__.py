"""Networks in, activity changed: context managers that compose, say what they do by a digest, and leave nothing behind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
