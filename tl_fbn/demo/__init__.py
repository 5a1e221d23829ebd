"""The embedded model: a small transformer trained on a formal language, with its tokenizer and its tasks.

It comes with the package, so that everything can be tried in seconds, without a GPU and without an internet connection.
The model answers questions of seven formal tasks, such as ``sort : d b a`` with ``a b d``; the language is defined in
:mod:`tl_fbn.acquisition.design.stimuli.formal`, the training is :mod:`tl_fbn.demo.train`, and the exact match of every
task on held-out items is in ``weights/training.json``.

The model is a toy: it shows that the tools work, and says nothing about language models.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.signatures import checked

if TYPE_CHECKING:
    from tl_fbn.intervention.behaviour.battery import Battery
    from tl_fbn.intervention.behaviour.task_set import Tasks


def weights_folder() -> Path:
    """The Hugging Face folder with weights and tokenizer of the embedded model.

    >>> [path.name for path in sorted(fbn.demo.weights_folder().glob("*.safetensors"))]
    ['model.safetensors']
    """
    return Path(str(resources.files("tl_fbn.demo").joinpath("weights")))


@checked
def load_model(device: str | None = "cpu", *, dtype: str = "float32") -> Any:
    """The embedded model as a TransformerLens bridge in eval mode; nothing is downloaded.

    >>> small = fbn.demo.load_model()
    >>> small.cfg.model_name, small.cfg.n_layers, small.cfg.d_model, small.cfg.d_mlp, small.cfg.d_vocab
    ('tl_fbn-demo', 3, 96, 384, 94)

    Args:
        device: The device that holds the model, as PyTorch names it: ``"cpu"`` or ``"cuda"``; None lets TransformerLens
            choose.
        dtype: Number type of weights and activations: ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Returns:
        A ``TransformerBridge``: 3 layers, 96 dimensions, 384 MLP neurons a layer, a vocabulary of 94 words.
    """
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    from tl_fbn.acquisition.model.host import require_device

    if device is not None:
        require_device(device)
    model = TransformerBridge.boot_transformers(str(weights_folder()), device=device, dtype=getattr(torch, dtype))
    model.cfg.model_name = "tl_fbn-demo"  # not the path of the folder, which differs between machines
    # others of its architecture (Pythia's) were trained without a beginning-of-text token; this one was with it
    model.cfg.default_prepend_bos = True
    return model.eval()


@checked
def battery(*, n: int = 100, seed: int = 0) -> Battery:
    """The seven tasks of the embedded model, with items that it has never seen and :func:`tl_fbn.prompts` never gives.

    >>> items = fbn.demo.battery(n=1).tasks["sort"].items
    >>> items[0].prompt, items[0].alternatives
    ('[INST] sort : h e l l b [/INST]', ('b e h l l',))

    Args:
        n: Number of items of each task.
        seed: Seed of the random draw of items; the same seed gives the same items, and every seed draws from those that
            are set apart for batteries.

    Returns:
        A battery of ``copy``, ``reverse``, ``sort``, ``shift``, ``upper``, ``count`` and ``add``, with one right answer
        for each item.
    """
    from tl_fbn.intervention.behaviour.battery import Battery

    tasks = {}
    for task in formal.TASKS:
        stream = formal.items(task, "battery", seed)  # the split "battery": neither trained on nor given as prompts
        chosen = [next(stream) for _ in range(n)]
        tasks[task] = [(item.prompt, item.answer) for item in chosen]
    return Battery.from_pairs(tasks)


@checked
def tasks(*, n: int = 200, chat: bool = False, seed: int = 0) -> Tasks:
    """The seven tasks of the embedded model as one set of rows, for what is said of :class:`tl_fbn.Tasks`.

    >>> fbn.demo.tasks(n=20).select(["sort", "add"])
    Tasks: sort (20 + 20), add (20 + 20) rows for discovery + evaluation; no shots, as text
    >>> fbn.demo.tasks(n=20).prompts()["sort"][0]
    '[INST] sort : e h e c h a [/INST] a c e e h h'

    Args:
        n: Number of rows of each half of a task.
        chat: True shows rows as chats, which the model's template writes as the same text.
        seed: Seed of the random draw of rows; rows for discovery are among those of :func:`tl_fbn.prompts`, those for
            evaluation among those of :func:`battery`, whatever the seed.

    Returns:
        Rows without shots, since the model was trained on single questions.
    """
    from tl_fbn.attribution.few_shot import Example
    from tl_fbn.intervention.behaviour.task_set import Tasks

    halves: list[dict[str, list[Example]]] = []
    for split in ("prompts", "battery"):
        rows: dict[str, list[Example]] = {}
        for task in formal.TASKS:
            stream = formal.items(task, split, seed)
            chosen = [next(stream) for _ in range(n)]
            if chat:
                rows[task] = [Example("", item.question, item.answer) for item in chosen]
            else:
                rows[task] = [Example(task, item.question.removeprefix(f"{task} : "), item.answer) for item in chosen]
        halves.append(rows)
    template = "chat" if chat else f"{formal.USER_OPEN} {{instruction}} : {{input}} {formal.USER_CLOSE}"
    return Tasks(halves[0], evaluation=halves[1], shots=0, template=template)


@checked
def topics(*, seed: int = 0) -> dict[str, list[Any]]:
    """Questions of four tasks and neutral text, for designs in which the embedded model writes.

    >>> {name: len(prompts) for name, prompts in fbn.demo.topics().items()}
    {'sort': 60, 'reverse': 60, 'upper': 60, 'add': 60, 'rest': 300}

    Args:
        seed: Seed of the random draw of questions and texts.

    Returns:
        Name of each task to its questions, as chats that the model answers, and ``"rest"``, five times as many texts.
    """
    from tl_fbn.acquisition.design.stimuli import chats, prompts

    asked = {task: [chat[:1] for chat in chats(task, n=60, seed=seed)] for task in ("sort", "reverse", "upper", "add")}
    return asked | {"rest": prompts("rest", n=300, seed=seed)}
