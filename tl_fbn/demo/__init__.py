"""The embedded model: a small transformer that speaks a formal language, its tokenizer and its tasks.

``load_model()`` needs no network. What the model speaks is in :mod:`tl_fbn.acquisition.design.stimuli.formal`, how it was trained
in :mod:`tl_fbn.demo.train`, and what it scores in ``weights/training.json``.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.acquisition.design.stimuli import formal

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.battery import Battery


def weights_folder() -> Path:
    """The Hugging Face folder with weights and tokenizer."""
    return Path(str(resources.files("tl_fbn.demo").joinpath("weights")))


def load_model(device: str = "cpu") -> Any:
    """The embedded model as a TransformerLens bridge in eval mode, offline.

    Args:
        device: Where to put it.

    Returns:
        A ``TransformerBridge``: 3 layers, 96 dimensions, 384 MLP neurons a layer, a vocabulary of 94 words.
    """
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(weights_folder()), device=device)
    model.cfg.model_name = "tl_fbn-demo"
    return model.eval()


def battery(*, n: int = 100, seed: int = 0) -> Battery:
    """The demo model's tasks with items it has never seen and :func:`tl_fbn.prompts` never serves.

    Args:
        n: Items a task.
        seed: Another seed draws other items, from the same split.
    """
    from tl_fbn.intervention.behaviour.battery import Battery

    tasks = {}
    for task in formal.TASKS:
        stream = formal.items(task, "battery", seed)
        chosen = [next(stream) for _ in range(n)]
        tasks[task] = [(item.prompt, item.answer) for item in chosen]
    return Battery.from_pairs(tasks)
