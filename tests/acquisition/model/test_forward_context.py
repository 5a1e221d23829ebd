"""Where the tokens of a pass stand: prompts, caches, padding, generation, and nothing left behind."""

from __future__ import annotations

import gc

import pytest
import torch

from tests.helpers.models import CPU, bridged, tiny_llama, tiny_model
from tl_fbn.acquisition.model import forward_context
from tl_fbn.acquisition.model.forward_context import declared, listen

IDS = torch.tensor([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])


def seen_by(model, lease, act) -> list[tuple[int, int, list[int]]]:
    """(columns before, columns now, ends of the prompts) of every pass of ``act``."""
    found = []

    def look(tensor, hook):
        now = lease.reader.now
        found.append((now.past, tensor.shape[1], now.prompt_ends(tensor.shape[1], CPU).tolist()))

    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", look)]):
        act()
    return found


def test_a_plain_pass_is_all_prompt_up_to_its_padding():
    model = bridged(tiny_llama())
    lease = listen(model)
    assert seen_by(model, lease, lambda: model(IDS)) == [(0, 5, [5])]
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert seen_by(model, lease, lambda: model(IDS, attention_mask=mask)) == [(0, 5, [3, 5])]
    assert seen_by(model, lease, lambda: model(IDS, attention_mask=mask.flip(1))) == [(0, 5, [5, 5])]
    assert lease.reader.now is None


def test_a_cache_tells_what_was_written():
    model = bridged(tiny_llama())
    lease = listen(model)

    def steps():
        _, cache = model(IDS, return_type="logits_and_cache", use_cache=True)
        model(IDS[:, :1], past_key_values=cache)

    assert seen_by(model, lease, steps) == [(0, 5, [5]), (5, 1, [5])]


@pytest.mark.parametrize("name", ["past_key_values", "cache", "past_kv_cache"])
def test_a_cache_is_found_by_each_of_its_names(name):
    _, cache = bridged(tiny_llama())(IDS, return_type="logits_and_cache", use_cache=True)
    assert forward_context._cached_columns({name: cache, "use_cache": True}) == 5
    assert forward_context._cached_columns({name: None}) == 0


@pytest.mark.parametrize("cached", [True, False])
def test_generation_keeps_the_prompt_apart(cached):
    for model in (bridged(tiny_llama()), tiny_model()):
        lease = listen(model)
        options = {"max_new_tokens": 3, "do_sample": False, "stop_at_eos": False, "verbose": False}
        found = seen_by(model, lease, lambda: model.generate(IDS, use_past_kv_cache=cached, **options))  # noqa: B023
        assert [past + now for past, now, _ in found] == [5, 6, 7]
        assert all(ends == [5] for *_, ends in found)
        again = seen_by(model, lease, lambda: model(IDS))  # noqa: B023
        assert again == [(0, 5, [5])]


def test_a_stream_of_tokens_keeps_the_prompt_apart():
    model = bridged(tiny_llama())
    if not hasattr(model, "generate_stream"):
        pytest.skip("this host does not stream")
    lease = listen(model)
    options = {
        "max_new_tokens": 3,
        "do_sample": False,
        "stop_at_eos": False,
        "use_past_kv_cache": False,
        "verbose": False,
    }
    found = seen_by(model, lease, lambda: list(model.generate_stream(IDS, max_tokens_per_yield=1, **options)))
    assert [now for _, now, _ in found][-1] == 7
    assert all(ends == [5] for *_, ends in found)


def test_what_is_declared_goes_first_and_only_inside():
    model = tiny_model()
    with declared(model, [1, 2]):  # nobody listens
        pass
    lease = listen(model)
    with declared(model, [2, 3]):
        assert seen_by(model, lease, lambda: model(IDS)) == [(0, 5, [2, 3])]
    assert seen_by(model, lease, lambda: model(IDS)) == [(0, 5, [5])]


def test_one_reader_serves_many_and_leaves_with_the_last():
    model = bridged(tiny_llama())
    inner = model.original_model
    before = len(inner._forward_pre_hooks), len(inner._forward_hooks)
    first, second = listen(model), listen(model)
    assert first.reader is second.reader
    assert len(inner._forward_pre_hooks) == before[0] + 1
    first.close()
    first.close()  # again is nothing
    assert second.reader.now is None
    assert len(inner._forward_pre_hooks) == before[0] + 1
    del second
    gc.collect()
    assert (len(inner._forward_pre_hooks), len(inner._forward_hooks)) == before
    assert not {"generate", "generate_stream", "hf_generate"} & (vars(model).keys() | vars(inner).keys())


def test_a_generate_of_the_users_own_comes_back():
    model = tiny_model()
    calls = []

    def mine(*args, **kwargs):
        calls.append(args)
        return "mine"

    object.__setattr__(model, "generate", mine)
    lease = listen(model)
    assert model.generate(IDS) == "mine"
    lease.close()
    assert model.generate is mine
    assert len(calls) == 1


def test_an_interrupted_pass_is_forgotten():
    model = tiny_model()
    lease = listen(model)

    def stop(tensor, hook):
        raise RuntimeError

    with pytest.raises(RuntimeError), model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", stop)]):
        model(IDS)
    assert lease.reader.now is None


def test_texts_are_named_by_their_prompts_wherever_they_stand():
    """Alone, in a batch, padded on either side, behind a cache or read again: the same number."""
    model = bridged(tiny_llama())
    lease = listen(model)
    found: list[list[int]] = []

    def look(tensor, hook):
        now = lease.reader.now
        found.append(now.texts(*tensor.shape[:2], CPU).tolist())

    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    left = torch.stack([IDS[0].roll(2), IDS[1]])
    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", look)]):
        for ids, options in (
            (IDS[:1, :3], {}),
            (IDS[1:], {}),
            (IDS, {"attention_mask": mask}),
            (left, {"attention_mask": mask.flip(1)}),
        ):
            model(ids, **options)
        with declared(model, [3, 5]):
            model(torch.cat([IDS, IDS[:, :2]], dim=1))
        alone = [found[0][0], found[1][0]]
        assert found[2:] == [alone] * 3
        assert alone[0] != alone[1]
        found.clear()
        for cached in (True, False):
            options = {"max_new_tokens": 3, "do_sample": False, "stop_at_eos": False, "verbose": False}
            model.generate(IDS[1:], use_past_kv_cache=cached, **options)
    assert found == [[alone[1]]] * 6


def test_a_stream_that_is_held_changes_no_other_pass():
    model = bridged(tiny_llama())
    if not hasattr(model, "generate_stream"):
        pytest.skip("this host does not stream")
    lease = listen(model)
    stream = model.generate_stream(IDS[:, :3], max_tokens_per_yield=1, max_new_tokens=4, do_sample=False, verbose=False)
    next(stream)
    assert seen_by(model, lease, lambda: model(IDS)) == [(0, 5, [5])]
    assert all(ends == [3] for *_, ends in seen_by(model, lease, lambda: next(stream)))


def test_a_pass_inside_a_pass_gives_the_outer_one_back():
    model = tiny_model()
    lease = listen(model)
    seen = []

    def again(tensor, hook):
        if len(seen) == 0:
            seen.append(lease.reader.now)
            model(IDS[:1, :2])
            seen.append(lease.reader.now)

    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", again)]):
        model(IDS)
    assert seen[0] is seen[1] is not None
    assert lease.reader.now is None


def test_threads_see_their_own_passes():
    from concurrent.futures import ThreadPoolExecutor

    model = tiny_model()
    lease = listen(model)
    found = []

    def look(tensor, hook):
        found.append((tensor.shape[1], lease.reader.now.prompt_ends(tensor.shape[1], CPU).tolist()))

    def write(_):
        model.generate(IDS[:, :3], max_new_tokens=8, do_sample=False, stop_at_eos=False, verbose=False)

    def read(_):
        with torch.no_grad():
            for _ in range(8):
                model(IDS[:, :2])

    with model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", look)]), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: job(0), [write, read] * 4))
    assert all(ends == ([2] if n == 2 else [3]) for n, ends in found)


def test_two_bridges_around_one_model_both_write():
    inner = tiny_llama()
    first, second = bridged(inner), bridged(inner)
    one, two = listen(first), listen(second)
    options = {
        "max_new_tokens": 3,
        "do_sample": False,
        "stop_at_eos": False,
        "use_past_kv_cache": False,
        "verbose": False,
    }
    for model in (first, second):
        found = seen_by(model, two, lambda: model.generate(IDS, **options))  # noqa: B023
        assert all(ends == [5] for *_, ends in found)
    one.close()
    assert "generate" not in vars(first)
    assert "generate" in vars(second)
    two.close()
    assert not {"generate", "hf_generate"} & (vars(second).keys() | vars(inner).keys())


def test_a_generate_set_inside_stays():
    model = tiny_model()
    lease = listen(model)
    object.__setattr__(model, "generate", print)
    lease.close()
    assert model.generate is print


@pytest.mark.parametrize("make", [lambda: bridged(tiny_llama()), tiny_model])
def test_of_a_lease_whose_end_never_ran_the_next_pass_takes_everything_off(make):
    model = make()
    entry = getattr(model, "original_model", model)
    before = (dict(entry._forward_pre_hooks), dict(entry._forward_hooks), "generate" in model.__dict__)
    lease = listen(model)
    assert (dict(entry._forward_pre_hooks), dict(entry._forward_hooks), "generate" in model.__dict__) != before
    lease._end.detach()  # as ^C at the first instruction of its finaliser does
    del lease
    gc.collect()
    with torch.no_grad():
        logits = model(IDS)
        torch.testing.assert_close(model(IDS), logits)
    assert (dict(entry._forward_pre_hooks), dict(entry._forward_hooks), "generate" in model.__dict__) == before
