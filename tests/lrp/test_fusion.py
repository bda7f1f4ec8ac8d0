"""A linear layer and its activation in one step give what the two give apart."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain.lrp.fusion import _KEEP_SIGN

EPSILON = 0.05  # large enough that a wrong sign of it shows

ACTIVATIONS = {
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "gelu of tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "elu": nn.ELU(),
    "celu": nn.CELU(0.7),
    "selu": nn.SELU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
}


def by_hand(
    first: nn.Linear, act: nn.Module, last: nn.Linear, x: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of the first output, and what the first layer absorbs, from the two rules apart."""
    with torch.no_grad():
        z = first(x)
        y = act(z)
        score = y @ last.weight[0] + last.bias[0]
        r_y = y * last.weight[0] / (score + EPSILON * score.sign())[:, None] * score[:, None]
        denominator = z + torch.copysign(torch.full_like(z, EPSILON), z)
        shares = x[:, :, None] * first.weight.T  # (sample, input, unit)
        r_x = (shares / denominator[:, None] * r_y[:, None]).sum(2)
        absorbed = (r_y * (1 - shares.sum(1) / denominator)).sum(1)
    return r_x.numpy(), absorbed.numpy()


@pytest.mark.parametrize("samples", [3, 1000], ids=["whole", "in blocks"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_layer_and_activation(name: str, samples: int) -> None:
    torch.manual_seed(1)
    act = ACTIVATIONS[name]
    first, last = nn.Linear(6, 300).double(), nn.Linear(300, 2).double()
    x = torch.randn(samples, 6, dtype=torch.float64)
    ds = sx.explain(nn.Sequential(first, act, last), x, 0, sx.LRP(sx.rules.Epsilon(EPSILON)))
    relevance, absorbed = by_hand(first, act, last, x)
    np.testing.assert_allclose(ds.relevance, relevance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ds.absorbed.sel(operation="0:linear"), absorbed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("act", [nn.ELU(), nn.GELU()], ids=["elu", "gelu"])
@pytest.mark.parametrize("width", [8, 200], ids=["merged weights", "scaled results"])
def test_convolution_batch_norm_and_activation(act: nn.Module, width: int) -> None:
    """With relevance asked for at a layer the steps stay apart: another way to the same figures."""
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(width)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    net = nn.Sequential(
        nn.Conv2d(40, width, 3, padding="same"), norm, act, nn.Flatten(), nn.Linear(36 * width, 4)
    )
    net = net.double().eval()
    x = torch.randn(64, 40, 6, 6, dtype=torch.float64)
    method = sx.LRP(sx.rules.Epsilon(EPSILON))
    together = sx.explain(net, x, sx.Targets("all"), method)
    apart = sx.explain(net, x, sx.Targets("all"), method, layers=["2"])
    np.testing.assert_allclose(together.relevance, apart.relevance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(together.absorbed, apart.absorbed, rtol=1e-9, atol=1e-12)
    assert float(together.conservation_error.max()) < 1e-12


@pytest.mark.parametrize("target", sorted(map(str, _KEEP_SIGN)))
def test_listed_activations_keep_the_sign(target: str) -> None:
    act = next(t for t in _KEEP_SIGN if str(t) == target)
    z = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    y = act(z)
    assert bool((y * z >= 0).all())
    assert float(act(torch.zeros(1, dtype=torch.float64))) == 0
