"""Hooks that a user has put on the model: do they change what is recorded?

A recording names what was done to the model while it was made. Interventions of this package say so themselves
(:class:`tl_fbn.acquisition.model.host.Edit`); any other hook may change activations without saying how. While the
model runs, each such hook is therefore wrapped where torch keeps it, and one that changes what it is given raises an
error. Hooks that only read are left alone. Watched are

- functions on TransformerLens's hook points,
- PyTorch's forward hooks and pre-hooks on any module of the model, and those for all modules of the process,

but for what PyTorch and the libraries that models come from put on modules themselves: that is the model as it was
loaded, and the fingerprint of a pass speaks of it (:mod:`tl_fbn.acquisition.model.fingerprint`).

What a hook does is told by comparing all tensors that it can reach with copies made before, bit by bit; neither
``.data`` nor ``.numpy()`` nor inference mode hides a change. Cost: those copies, and only where foreign hooks are.

:class:`Watch` also notices interventions and hooks that come and go while a scan runs, from another thread.
:func:`muted` switches hooks off for a moment, for a pass that asks what the model alone computes.

What it does not do: see what a hook does to objects that are no tensors, such as key-value caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules import module as torch_module
from torch.utils import _pytree

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.hidden_weights import named_modules
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.settings import defined_in, is_of_library
from tl_fbn.errors import InputError
from tl_fbn.interrupts import uninterrupted


@dataclass(frozen=True)
class PlacedHook:
    """A hook function where torch keeps it.

    Args:
        hooks: The dictionary of torch's that the hook is in.
        number: The hook's key there.
        name: Name of the hook point or module, for messages.
        function: The function that the user gave; torch may hold a wrapper of it.
        at_point: True on a hook point of TransformerLens, False on a module or for all modules.
    """

    hooks: dict[int, Any]
    number: int
    name: str
    function: Any
    at_point: bool

    @property
    def is_edit(self) -> bool:
        """Whether the hook is an intervention of this package."""
        return isinstance(self.function, host.Edit)

    @property
    def is_foreign(self) -> bool:
        """Whether the hook is neither of this package nor part of the model as a library loads it."""
        if self.is_edit or defined_in(self.function).startswith("tl_fbn."):
            return False
        return self.at_point or not is_of_library(self.function)


def placed_hooks(model: HookedModel) -> Iterator[PlacedHook]:
    """Every hook that acts in a forward pass of the model, wherever it is.

    Args:
        undo: Takes what puts the user's hooks back as they were.
        model: The model.
    """
    points: set[int] = set()
    for name, point in model.hook_dict.items():
        if id(point) not in points:  # a bridge lists hook points under several names
            points.add(id(point))
            if point._forward_hooks:
                for number, function in host.functions_on(point).items():
                    yield PlacedHook(point._forward_hooks, number, name, function, True)
    for name, module in named_modules(host.inner_model(model), model):
        where = f"the module {name}" if name else "the whole model"
        if module._forward_hooks and id(module) not in points:
            yield from _on_module(module._forward_hooks, where)
        if module._forward_pre_hooks:
            yield from _on_module(module._forward_pre_hooks, where)
    for hooks in (torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks):
        yield from _on_module(hooks, "all modules")


def _on_module(hooks: dict[int, Any], name: str) -> Iterator[PlacedHook]:
    for number, function in list(hooks.items()):
        yield PlacedHook(hooks, number, name, function, False)


@dataclass
class Watch:
    """What is known of a model's hooks while it runs; :func:`watching` makes one.

    Args:
        model: The model.
        edits: Interventions of this package that were in force when the watch began, as :func:`.host.active_edits`
            lists them.
        known: Hooks of the user's that are watched, as (id of torch's dictionary, key there); None where hooks need
            not be watched.
        fired: Digests of the interventions that acted since the watch began; they note them themselves.
    """

    model: HookedModel
    edits: list[str]
    known: set[tuple[int, int]] | None
    fired: set[str] = field(default_factory=set)
    _places: list[dict[int, Any]] = field(default_factory=list)  # where torch keeps hooks: every module's dictionaries
    _cleared: list[tuple[int, ...]] = field(default_factory=list)  # keys of all hooks, when they were last in order

    def __post_init__(self) -> None:
        modules = [*self.model.hook_dict.values(), *(one for _, one in named_modules(self.model))]
        self._places = [hooks for one in modules for hooks in (one._forward_hooks, one._forward_pre_hooks)]
        self._places += [torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks]
        self._cleared = self._keys()  # what is there at the beginning is known

    def _keys(self) -> list[tuple[int, ...]]:
        """The keys of all hooks, place by place."""
        return [tuple(hooks) for hooks in self._places if hooks]

    def check(self) -> None:
        """Raise an error if interventions or hooks have come or gone since the watch began.

        Raises:
            InputError: They have; the message says which kind, and what to do.
        """
        # an edit may come and go within one pass: what acted has noted itself
        passing = self.fired - {edit.rsplit(" ", 1)[1] for edit in self.edits}
        keys = self._keys()
        if keys == self._cleared and not passing:  # the usual case, in microseconds
            return
        placed = list(placed_hooks(self.model))
        now = _edits_among(placed)
        if now != self.edits or passing:
            between = ", others in between" if passing and now == self.edits else ""
            raise InputError(
                f"interventions changed while the model was read: {len(self.edits)} edits were in force at the "
                f"beginning, {len(now)} are now{between}; what was read is not kept. Enter and leave them before or "
                "after, and let one thread at a time use a model"
            )
        foreign = [one for one in placed if one.is_foreign]
        new = [one for one in foreign if (id(one.hooks), one.number) not in (self.known or ())]
        if self.known is not None and new:
            raise InputError(
                f"a hook of yours was put on {new[0].name} while the model was read, unwatched; what was read is not "
                "kept. Put hooks on before, or name what they do with hooks_id=..."
            )
        self._cleared = keys


def _edits_among(placed: list[PlacedHook]) -> list[str]:
    """Hook point and digest of every intervention among some hooks, as :func:`.host.active_edits` has them."""
    edits = [one for one in placed if one.at_point and one.is_edit]
    return [f"{one.name} {one.function.digest}" for one in edits if not getattr(one.function, "changes_nothing", False)]


@uninterrupted
def watching(undo: ExitStack, model: HookedModel, *, allowed: bool) -> Watch:
    """Raise an error if a hook that is not of this package changes an activation while the body runs.

    Args:
        undo: Takes what puts the user's hooks back as they were.
        model: The model.
        allowed: True where the user has named what the hooks do (``hooks_id``): nothing they do is then checked.

    Returns:
        The watch, which says on demand whether hooks came or went.

    Raises:
        InputError: A hook changed an activation; the message names where it is.
    """
    placed = list(placed_hooks(model))
    foreign = [] if allowed else [one for one in placed if one.is_foreign]
    watch = Watch(model, _edits_among(placed), None if allowed else {(id(one.hooks), one.number) for one in foreign})
    _replace(undo, foreign, _raising_on_change)
    for point in model.hook_dict.values():
        outer = point.__dict__.get(host.FIRED)  # of a watch around this one
        undo.callback(_note_in, point, outer)
        _note_in(point, watch.fired)
    return watch


def _note_in(point: Any, fired: set[str] | None) -> None:
    """Say where interventions at a hook point note that they acted; None for nowhere."""
    if fired is None:
        point.__dict__.pop(host.FIRED, None)
    else:
        point.__dict__[host.FIRED] = fired


@torch.no_grad()
def require_reading_hooks(model: HookedModel, ids: Sequence[int]) -> None:
    """Make sure, by one forward pass, that no hook of the user's changes activations; none runs where there is no hook.

    A hook that only read so far may write by now: a pass is needed at every call.

    Args:
        model: The model.
        ids: Token ids of the text that is read.

    Raises:
        InputError: A hook changed an activation; the message names where it is.
    """
    if any(one.is_foreign for one in placed_hooks(model)):
        with watching(model, allowed=False):
            model(torch.tensor([list(ids)], device=host.model_device(model)))


@uninterrupted
def muted(undo: ExitStack, model: HookedModel, *, foreign: bool) -> None:
    """Switch this package's interventions off while the body runs, and on request all hooks of the user's.

    Args:
        undo: Takes what puts the hooks back.
        model: The model.
        foreign: True also mutes hooks that are not of this package.
    """
    chosen = [one for one in placed_hooks(model) if one.is_edit or (foreign and one.is_foreign)]
    _replace(undo, chosen, lambda function, name: _do_nothing)


def _do_nothing(*_: Any, **__: Any) -> None:
    """A hook that reads nothing and changes nothing."""


def _replace(undo: ExitStack, placed: list[PlacedHook], replacement: Callable[[Any, str], Any]) -> None:
    """Put others in the place of some hooks, until ``undo``; each is made of the hook and the name of its place."""
    for one in placed:
        function = one.hooks[one.number]
        if not hasattr(function, "_tl_fbn_watch"):  # another watch has it already
            undo.callback(_put_back, one.hooks, one.number, function)
            one.hooks[one.number] = replacement(function, one.name)


def _put_back(hooks: dict[int, Any], number: int, hook: Any) -> None:
    if number in hooks:  # the body may have removed it
        hooks[number] = hook


def _raising_on_change(function: Any, name: str) -> Any:
    """The hook function, with an error if it changes what it is given; ``name`` is that of its place."""

    def watched(module: Any, *given: Any) -> Any:
        leaves = _pytree.tree_leaves(given)
        copies = [one.detach().clone() if isinstance(one, torch.Tensor) else one for one in leaves]
        result = function(module, *given)
        # a hook that returns what it was given, or an equal copy, changes nothing
        changed = not _all_same(leaves, copies) or not (result is None or _is_given(result, given))
        if changed:
            raise InputError(
                f"a hook of yours on {name} changes activations, and a recording cannot know how; remove it, or name "
                "what it does with hooks_id=..."
            )
        return result

    watched._tl_fbn_watch = True  # pyright: ignore[reportFunctionMemberAccess]
    return watched


def _is_given(result: Any, given: tuple[Any, ...]) -> bool:
    """Whether what a hook returns is what it was given: an output, arguments, or arguments and keywords."""
    returned = _pytree.tree_leaves(result)
    # the output comes last; of a pre-hook, all that it is given; a single argument need not be in a tuple
    return any(_all_same(returned, _pytree.tree_leaves(one)) for one in (given[-1], given))


def _all_same(some: list[Any], others: list[Any]) -> bool:
    """Whether two lists hold the same objects, tensors being the same where all their bits are."""
    return len(some) == len(others) and all(map(_same, some, others))


def _same(one: Any, other: Any) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    # NaN is not equal to itself
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
