"""A model whose neurons are random directions: what is found in it owes nothing to the axes of its layers."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import claim
from tl_fbn.acquisition.model.sites import hook_name, resolve_site
from tl_fbn.acquisition.model.turned_points import TurnedPoint, turn_point
from tl_fbn.analysis.ica.fastica import random_start
from tl_fbn.errors import InputError
from tl_fbn.interrupts import Uninterrupted, uninterrupted
from tl_fbn.signatures import checked
from tl_fbn.units.outgoing_norms import NEURON_SITES

LARGEST_GROUP = 1024  # units that one direction mixes: far more than a network has, and few enough for a small matrix


@checked
def rotated(model: HookedModel, *, seed: int) -> Uninterrupted[None]:
    """Let everything see a model's MLP neurons along random directions of their layer, while a block of code runs.

    The model computes what it did. But what hooks read and change at ``mlp.neurons``, ``mlp.pre`` and ``mlp.up``, and
    the gradients taken there, are those of directions, each of which mixes up to 1,024 neurons of one layer with random
    weights. A scan, a score, or a lesion of *units* runs inside unchanged, and asks: is it the neurons, or would any
    axes do?

    >>> with fbn.studies.rotated(model, seed=0):
    ...     turned = fbn.Scanner(model).scan(design, "recordings/rotated", progress=False)
    >>> control = fbn.fit_glm(turned).contrast("sort - reverse")
    >>> for one in (contrast, control):  # share of the sum of squares in the 23 units of largest effect
    ...     squares = np.sort(np.square(one.effect.values), axis=None)
    ...     print(f"{squares[-23:].sum() / squares.sum():.2f}")
    0.71
    0.26

    Args:
        model: A TransformerLens model in eval mode.
        seed: Seed of the directions; the same seed gives the same ones.

    Returns:
        A block to enter. Inside it units of the sites named above are other ones than the model's, in the same number,
        and the model's weights have another digest; all other sites are the model's own.

    Raises:
        InputError: The model has no MLP neurons; on entering, hooks are on them, or they are rotated already.
    """
    widths = resolve_site(model, "mlp.neurons").space.widths
    return _turned(model, widths, seed)


@uninterrupted
def _turned(undo: ExitStack, model: HookedModel, widths: tuple[int, ...], seed: int) -> None:
    claim(undo, model, "a rotated basis")
    names = {hook_name(site, layer) for site in NEURON_SITES for layer in range(len(widths))}
    points = {name: model.hook_dict[name] for name in names if name in model.hook_dict}
    if any(isinstance(point, TurnedPoint) for point in points.values()):
        raise InputError("this model's neurons are rotated already; leave that block first")
    if hooked := sorted(name for name, point in points.items() if host.functions_on(point)):
        raise InputError(
            f"hooks are on {hooked[0]}, which would act on random directions from now on; enter the rotated basis "
            "first, and put them on inside"
        )
    device = host.model_device(model)
    matrices: dict[int, torch.Tensor] = {}  # size of a group to the matrix of all groups of that size
    for layer, width in enumerate(widths):
        if not width:
            continue
        rng = np.random.default_rng([seed, layer])
        order = torch.from_numpy(rng.permutation(width)).to(device)
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], width).astype(np.float32)).to(device)
        n_groups = -(-width // LARGEST_GROUP)
        size, n_larger = divmod(width, n_groups)  # the larger groups have one unit more
        groups = []
        for n, one in ((n_larger, size + 1), (n_groups - n_larger, size)):
            if n and one not in matrices:
                drawn = random_start(one, np.random.default_rng([seed, len(widths), one]))
                matrices[one] = torch.from_numpy(drawn.astype(np.float32)).to(device)
            if n:
                groups.append((n, matrices[one]))
        # a bridge lists a hook point under several names
        own = {id(points[name]): points[name] for site in NEURON_SITES if (name := hook_name(site, layer)) in points}
        for point in own.values():
            turn_point(undo, point, order, signs, groups)
