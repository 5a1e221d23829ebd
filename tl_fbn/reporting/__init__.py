"""Results in, pictures and pages out: ``plot`` draws pictures, ``page`` writes reports, ``viewer`` pages to explore."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
