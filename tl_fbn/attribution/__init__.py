"""Scores of neurons made of gradients: CGVST, its rivals, and few-shot chats to compute them on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
