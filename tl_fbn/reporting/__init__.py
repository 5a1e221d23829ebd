"""Results in, pictures and pages out: :mod:`figures` draws one picture a function, :mod:`page` sets a report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
