"""What is done with networks once they are found: compared, matched, counted, followed over time, told apart."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
