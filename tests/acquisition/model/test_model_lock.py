"""A model serves one thread at a time, says so to others, and is not copied meanwhile."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.designs import small_design
from tests.helpers.interventions import IDS, llama_bridge, module_hooks, network_of
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.model_lock import serves_one_thread, serving


@pytest.fixture
def model():
    return llama_bridge()


def error_in_thread(act: Callable[[], Any]) -> BaseException | None:
    """What a function raises in another thread, "other"; None where it raises nothing."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="other")
    thread.start()
    thread.join()
    return raised[0] if raised else None


def enter(block) -> None:
    with block:
        pass


@pytest.mark.parametrize("positions", ["all", "last"])
def test_another_thread_is_told_whom_the_model_serves(model, positions, tmp_path):
    network = network_of(model)
    battery = fbn.Battery.from_pairs({"a": [((1, 2), (3,))]})
    acts = [
        lambda: enter(fbn.amplify(model, network, gain=2.0)),
        lambda: fbn.Scanner(model).scan(small_design(n_runs=1), tmp_path / "r", progress=False),
        lambda: battery.score(model),
        lambda: enter(fbn.only_network(model, network)),
        lambda: fbn.cgvst(model, [[1, 2, 3]], positions=[[1]], progress=False),
    ]
    with fbn.inhibit(model, network, positions=positions):
        for act in acts:
            error = error_in_thread(act)
            assert isinstance(error, fbn.InputError)
            assert "serves thread 'MainThread' just now (inhibit" in str(error)
            assert "copy.deepcopy(model)" in str(error)
            act()  # the same thread may
    assert error_in_thread(acts[0]) is None
    assert not (set(vars(model)) | set(vars(model.original_model))) & {"_tl_fbn_in_use", "generate"}


def test_two_scans_of_one_model_in_two_threads_one_is_refused(model, tmp_path):
    """The second begins while the first is in its first pass."""
    errors = []

    def meanwhile(tensor, hook):
        if not errors:
            errors.append(error_in_thread(lambda: second.scan(small_design(n_runs=1), tmp_path / "2", progress=False)))

    second = fbn.Scanner(model)
    alone = fbn.Scanner(model).scan(small_design(n_runs=1), tmp_path / "alone", progress=False)
    model.add_hook("blocks.0.mlp.hook_post", meanwhile)
    first = fbn.Scanner(model).scan(small_design(n_runs=1), tmp_path / "1", progress=False)
    model.reset_hooks()
    assert isinstance(errors[0], fbn.InputError)
    assert "cannot begin a scan" in str(errors[0])
    assert first.key == alone.key
    assert (first[0].read() == alone[0].read()).all()


def test_what_is_open_in_one_thread_may_be_entered_again_there(model):
    block = fbn.inhibit(model, network_of(model))
    with block, block, serving(model, "a test"):
        pass
    assert "_tl_fbn_in_use" not in vars(model.original_model)


def test_a_thread_that_ended_inside_its_block_holds_nothing(model):
    assert error_in_thread(lambda: fbn.inhibit(model, network_of(model), positions="last").__enter__()) is None
    with serving(model, "a test"):
        pass


def test_two_wrappers_of_one_model_are_one_model(model):
    twin = object.__new__(type(model))
    twin.__dict__.update(model.__dict__)
    with serving(model, "a test"):
        assert isinstance(error_in_thread(lambda: enter(serving(twin, "another"))), fbn.InputError)


def test_a_decorated_function_finds_its_model(model):
    class Holder:
        def __init__(self):
            self.model = model

        @serves_one_thread("holding")
        def held(self, word):
            return word, vars(model.original_model)["_tl_fbn_in_use"].purposes

    assert Holder().held("word")[0] == "word"
    with pytest.raises(TypeError, match="missing a required argument: 'word'"):
        Holder().held()


COPIED = {
    "inhibit": lambda model: fbn.inhibit(model, network_of(model)),
    "amplify, positions": lambda model: fbn.amplify(model, network_of(model), gain=2.0, positions="last"),
    "only_network": lambda model: fbn.only_network(model, network_of(model)),
}


@pytest.mark.parametrize("name", COPIED)
def test_a_model_is_not_copied_inside_a_block(model, name):
    before = model(IDS)
    with COPIED[name](model):
        for whole in (model, model.original_model):
            with pytest.raises(fbn.InputError, match=r"cannot be copied now.*Copy it before the `with` block"):
                copy.deepcopy(whole)
    twin = copy.deepcopy(model)
    assert module_hooks(twin) == 0
    assert torch.equal(twin(IDS), before)
    assert error_in_thread(lambda: enter(COPIED[name](twin))) is None


def test_nor_while_a_list_of_its_hooks_is_kept(model):
    hooks = fbn.inhibit(model, network_of(model), positions="last").fwd_hooks()
    with pytest.raises(fbn.InputError, match=r"cannot be copied now.*del them first"):
        copy.deepcopy(model)
    del hooks
    assert module_hooks(copy.deepcopy(model)) == 0


def test_a_model_of_the_hosts_own_refuses_too():
    model = tiny_model()
    with fbn.inhibit(model, network_of(model)), pytest.raises(fbn.InputError, match="cannot be copied now"):
        copy.deepcopy(model)
    copy.deepcopy(model)


def test_a_model_that_is_sent_to_another_process_serves_nobody_there():
    module = torch.nn.Linear(2, 2)
    module.hook_dict = {}
    with serving(module, "a test"):
        assert pickle.loads(pickle.dumps(module))._tl_fbn_in_use is None
        # and a note of that sort is no hindrance
    twin = pickle.loads(pickle.dumps(module))
    twin._tl_fbn_in_use = None
    with serving(twin, "a test"):
        pass
    assert "_tl_fbn_in_use" not in vars(twin)
