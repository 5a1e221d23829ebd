"""The model of a command, from its argument and options."""

from __future__ import annotations

from typing import Any

from tl_fbn.cli.console import Console


def load(console: Console, model: str, *, dtype: str, device: str | None, label: str | None) -> Any:
    """Load a command's model, and say in one line what was loaded.

    Args:
        console: Where the line goes, and whether bars are shown.
        model: Name, folder, ``.gguf`` file or ``"demo"``, as for :func:`tl_fbn.load_model`.
        dtype: Number type of weights and activations, or ``"auto"``.
        device: Device to put the model on; None for a GPU if there is one.
        label: What tables and pages call the model; None for its own name.

    Raises:
        InputError: The model cannot be loaded so.
    """
    from tl_fbn.models import describe_model, is_fast, load_model

    loaded = load_model(model, dtype, device, label=label, progress=console.bars)
    console.note(describe_model(loaded))
    used = next(iter(loaded.parameters()))
    name = str(used.dtype).removeprefix("torch.")
    if not is_fast(name, str(used.device)):
        console.note(f"this processor has no arithmetic of {name}: --dtype float32 is several times faster here")
    return loaded
