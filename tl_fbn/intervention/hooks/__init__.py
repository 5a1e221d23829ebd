"""Networks in, activations changed: inhibit, amplify, clamp and retain, as context managers.

They can be nested, each is named by a digest of what it does, and nothing of them is left when the block ends.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
