"""A small model that is not the masked one is an error."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.models import bridged, tiny_gpt2, tiny_model
from tests.helpers.pruning import half
from tl_fbn.intervention.pruning.logit_check import logits_of, not_the_weights, probe_ids, require_same_logits
from tl_fbn.intervention.pruning.prune import prune


def test_logits_of_minus_infinity_are_equal_where_both_are() -> None:
    wanted = torch.tensor([[1.0, -torch.inf, 2.0]])
    assert require_same_logits(wanted + 5e-5, wanted, "differs") == pytest.approx(5e-5, rel=1e-2)
    with pytest.raises(ValueError, match="differs"):
        require_same_logits(torch.tensor([[1.0, 0.0, 2.0]]), wanted, "differs")
    with pytest.raises(ValueError, match="differs"):
        require_same_logits(wanted + 2e-3, wanted, "differs")


def test_a_difference_in_logits_is_an_error(model, monkeypatch):
    from tl_fbn.intervention.pruning import mlp_surgery as surgery

    honest = surgery.cut_mlp
    monkeypatch.setattr(surgery, "cut_mlp", lambda plain, layer, kept: honest(plain, layer, kept[:-1]))
    with pytest.raises(ValueError, match="is not the masked one"):
        prune(model, keep=half(model))


def test_rounding_passes_and_more_is_an_error() -> None:
    wanted = torch.tensor([[1.0, -0.5], [0.25, 0.0]])
    assert require_same_logits(wanted + 5e-5, wanted, "differs") == pytest.approx(5e-5, rel=1e-2)
    with pytest.raises(ValueError, match=r"^differs \(logits differ by 0\.0002, allowed 0\.0001\)$"):
        require_same_logits(wanted + 2e-4, wanted, "differs")
    large = 100 * wanted  # relative where logits are larger than 1
    assert require_same_logits(large + 5e-3, large, "differs") == pytest.approx(5e-3, rel=1e-2)
    coarse = wanted.to(torch.bfloat16)  # half precision rounds more
    require_same_logits(coarse + 0.02, coarse, "differs")
    with pytest.raises(ValueError, match="logits differ by nan"):
        require_same_logits(wanted * torch.nan, wanted, "differs")


def test_probes_are_the_models_own_tokens_and_always_the_same() -> None:
    model = tiny_model(n_ctx=12)
    ids = probe_ids(model, None)
    assert ids.shape == (2, 12) and ids.dtype == torch.long and ids.min() >= 0 and ids.max() < 50
    assert torch.equal(ids, probe_ids(model, None))
    assert probe_ids(tiny_model(n_ctx=32), None).shape == (2, 16)
    assert probe_ids(model, [[1, 2, 3]]).tolist() == [[1, 2, 3]]


def test_logits_are_read_of_either_kind_of_model_and_shapes_that_do_not_fit_are_said() -> None:
    plain, ids = tiny_gpt2(), torch.tensor([[1, 2, 3]])
    assert torch.equal(logits_of(plain, ids), plain(ids).logits)
    torch.testing.assert_close(logits_of(bridged(tiny_gpt2()), ids), plain(ids).logits)

    def broken(ids: torch.Tensor) -> torch.Tensor:
        return torch.zeros(2, 3) @ torch.zeros(4, 5)

    with pytest.raises(ValueError, match=r"the pruned model does not run \(mat1 and mat2"):
        logits_of(broken, ids)


def test_what_the_weights_do_not_say_has_a_reason() -> None:
    model = bridged(tiny_gpt2())
    assert "hooks change it" in not_the_weights(model) and "reset_hooks" in not_the_weights(model)
    model.enable_compatibility_mode(disable_warnings=True)
    assert "compatibility mode folded them" in not_the_weights(model)
