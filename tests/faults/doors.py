"""What is no prompt, handed to every door through which prompts come in: ``python -m tests.faults.doors``.

Printed are, as JSON, those that were let in, and those that ended in an error which is not the package's own. A process
of its own, for under test the package's functions check the types of their arguments before the package does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tl_fbn as fbn
from tests.helpers.no_prompts import NO_LISTS, REFUSED


def doors(model: Any, given: Any) -> dict[str, Callable[[], Any]]:
    """Name of a door to what hands it one prompt."""
    network = fbn.attribution.random_scores(model, seed=0).top(3)
    patching = fbn.attribution.attribution_patching
    return {
        "block_design": lambda: fbn.block_design({"a": [given], "b": ["x"]}, seed=0, tokens_per_block=4),
        "token_layout": lambda: fbn.token_layout(model, given),
        "cgvst": lambda: fbn.cgvst(model, [given], progress=False),
        "integrated_gradients": lambda: fbn.attribution.integrated_gradients(model, [given], progress=False),
        "from_texts": lambda: fbn.Battery.from_texts({"a": [given]}).score(model),
        "from_pairs, prompt": lambda: fbn.Battery.from_pairs({"a": [(given, "b")]}).score(model),
        "from_pairs, answer": lambda: fbn.Battery.from_pairs({"a": [("b", given)]}).score(model),
        "from_choices, prompt": lambda: fbn.Battery.from_choices({"a": [(given, ["b", "c"], 0)]}).score(model),
        "from_choices, choice": lambda: fbn.Battery.from_choices({"a": [("a", ["b", given], 0)]}).score(model),
        "from_chats": lambda: fbn.Battery.from_chats({"a": [given]}, model),
        "few_shot_chats": lambda: fbn.few_shot_chats([given], seed=0, n_shots=0),
        "patching, clean": lambda: patching(model, [given], ["b"], [("a", "b")], progress=False),
        "patching, corrupted": lambda: patching(model, ["b"], [given], [("a", "b")], progress=False),
        "prune": lambda: fbn.prune(model, remove=network, compensate=[given], progress=False),
    }


def lists(model: Any, given: Any) -> dict[str, Callable[[], Any]]:
    """Name of a door to what hands it something in place of a list of prompts."""
    network = fbn.attribution.random_scores(model, seed=0).top(3)
    return {
        "block_design": lambda: fbn.block_design({"a": given, "b": ["x"]}, seed=0, tokens_per_block=4),
        "cgvst": lambda: fbn.cgvst(model, given, progress=False),
        "from_texts": lambda: fbn.Battery.from_texts({"a": given}),
        "from_pairs": lambda: fbn.Battery.from_pairs({"a": given}),
        "from_choices": lambda: fbn.Battery.from_choices({"a": given}),
        "from_chats": lambda: fbn.Battery.from_chats({"a": given}, model),
        "few_shot_chats": lambda: fbn.few_shot_chats(given, seed=0, n_shots=0),
        "prune": lambda: fbn.prune(model, remove=network, compensate=given, progress=False),
    }


def allowed(door: str, given: Any) -> bool:
    """Whether this is something else there than a prompt: an item without one, or a list of answers."""
    empty = isinstance(given, (str, list, range)) and not len(given)
    return (empty and door.endswith(", prompt")) or (given == ["a", "b"] and door == "from_pairs, answer")


def main() -> None:
    model = fbn.demo.load_model()
    let_in, raw, n = [], [], 0
    for given, opened in [(one, doors(model, one)) for one, _ in REFUSED] + [
        (one, lists(model, one)) for one, _ in NO_LISTS
    ]:
        for name, door in opened.items():
            if isinstance(given, (list, str, range)) and allowed(name, given):
                continue
            if name == "prune" and given is None:  # nothing to compensate
                continue
            n += 1
            try:
                door()
            except fbn.errors.InputError:
                continue
            except Exception as error:
                raw.append(f"{name} of {given!r}: {error!r}")
            else:
                let_in.append(f"{name} of {given!r}")
    print(json.dumps({"tried": n, "let_in": let_in, "raw": raw}))


if __name__ == "__main__":
    main()
