"""What lies between head and logits is fitted to both."""

import pytest
import torch

from chiasm.models.adopting.decoder import fitted


@pytest.mark.parametrize("factor", [1.0, 0.125, 3.0, 7.3])
@pytest.mark.parametrize("cap", [None, 30.0, 2.5])
def test_a_factor_and_a_cap_are_found(factor, cap):
    x = 6 * torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = factor * x if cap is None else torch.tanh(factor * x / cap) * cap
    # Saturated values say nothing of the factor, and single precision is what most logits have.
    scale, found = fitted(x, y.float().double())
    seen = scale * x if found is None else torch.tanh(scale * x / found) * found
    assert float((seen - y).abs().max()) <= 1e-3 * float(y.abs().max())
    if cap is None:
        assert (scale, found) == (pytest.approx(factor), None)


def test_what_is_neither_is_not_fitted():
    x = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fitted(x, x.abs()) == (1.0, None)
    assert fitted(x, x + 1) == (1.0, None)
