"""ShallowConvNet, Deep4Net, EEGNet: sizes from the papers, a slow forward pass, export, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sciexplain.models import NETWORKS, Deep4Net, EEGNet, EEGNetwork, NetworkSizeError, ShallowConvNet


def n_parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def randomise_batch_norm(net: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


# 22 channels, 4 classes, 1000 samples at 250 Hz, as braindecode reports them
@pytest.mark.parametrize(("network", "expected"), [(ShallowConvNet, 46_084), (Deep4Net, 282_879)])
def test_parameter_counts_of_schirrmeister_2017(network, expected):
    assert n_parameters(network(22, 4, 1000)) == expected


# Lawhern et al. 2018, table 3: P300, MRCP and SMR, 128 Hz. SMR has kernels of 32 samples.
@pytest.mark.parametrize(
    ("n_chans", "n_outputs", "n_times", "kernel", "small", "large"),
    [(64, 2, 128, None, 1_066, 2_258), (64, 2, 192, None, 1_098, 2_322), (22, 4, 256, 32, 796, 1_716)],
)
def test_parameter_counts_of_lawhern_2018(n_chans, n_outputs, n_times, kernel, small, large):
    sizes = {"sfreq": 128.0, "kernel_length": kernel}
    assert n_parameters(EEGNet(n_chans, n_outputs, n_times, **sizes)) == large
    assert n_parameters(EEGNet(n_chans, n_outputs, n_times, n_filters_time=4, **sizes)) == small


# The same table's other two networks; the authors halved the lengths for 128 Hz.
@pytest.mark.parametrize(
    ("n_chans", "n_outputs", "n_times", "expected"),
    [(64, 2, 128, 104_002), (56, 2, 160, 91_602), (64, 2, 192, 104_722), (22, 4, 256, 40_644)],
)
def test_shallow_counts_of_lawhern_2018(n_chans, n_outputs, n_times, expected):
    net = ShallowConvNet(n_chans, n_outputs, n_times, sfreq=128, pool_time_length=35, pool_time_stride=7)
    assert n_parameters(net) == expected


def test_deep_count_of_lawhern_2018():
    biases = 25 + 50 + 100 + 200  # their convolutions have biases before batch norm, which make no difference
    net = Deep4Net(64, 2, 128, sfreq=128, later_filter_length=5, later_pool_length=2)
    assert n_parameters(net) == 174_127 - biases


def test_lengths_keep_their_duration_at_another_rate():
    shallow = ShallowConvNet(22, 2, 1000, sfreq=500).config
    lengths = [shallow[name] for name in ("filter_time_length", "pool_time_length", "pool_time_stride")]
    assert lengths == [50, 150, 30]
    eegnet = EEGNet(22, 2, 1000, sfreq=250).config
    assert [eegnet[name] for name in ("kernel_length", "pool_length_1", "pool_length_2")] == [125, 8, 8]
    deep = Deep4Net(22, 2, 2000, sfreq=500).config
    names = ("filter_time_length", "pool_time_length", "later_filter_length", "later_pool_length")
    assert [deep[name] for name in names] == [20, 6, 10, 3]


def batch_norm(x: np.ndarray, norm: torch.nn.Module) -> np.ndarray:
    """(feature, ...) with the running statistics."""
    values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, var, weight, bias = (v.detach().numpy().reshape(-1, *[1] * (x.ndim - 1)) for v in values)
    return (x - mean) / np.sqrt(var + norm.eps) * weight + bias


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def correlate(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Of two vectors, where they overlap fully."""
    return np.correlate(x, kernel, mode="valid")


def windows_of(x: np.ndarray, length: int, stride: int) -> np.ndarray:
    """(..., window, length)"""
    starts = range(0, x.shape[-1] - length + 1, stride)
    return np.stack([x[..., s : s + length] for s in starts], axis=-2)


def test_shallow_is_the_papers_computation():
    net = ShallowConvNet(3, 2, 60, sfreq=100, n_filters_time=4, n_filters_spat=5, seed=1).double().eval()
    randomise_batch_norm(net)
    torch.nn.init.normal_(net.filters.time.bias)
    x = np.random.default_rng(0).standard_normal((3, 60))
    time, space = net.filters.time, net.filters.space.weight.detach().numpy()[..., 0]
    filtered = np.array(
        [
            [correlate(channel, kernel) + bias for channel in x]
            for kernel, bias in zip(time.weight.detach().numpy()[:, 0, 0], time.bias.detach().numpy())
        ]
    )
    z = batch_norm(np.einsum("sfc,fct->st", space, filtered), net.norm)
    features = np.log(np.maximum(windows_of(z**2, 30, 6).mean(-1), 1e-6))
    want = net.classifier.weight.detach().numpy() @ features.ravel() + net.classifier.bias.detach().numpy()
    got = net(torch.from_numpy(x)[None]).detach().numpy()[0]
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_deep4_is_the_papers_computation():
    net = (
        Deep4Net(3, 2, 180, sfreq=250, n_filters=2, later_filter_length=5, later_pool_length=2, seed=1)
        .double()
        .eval()
    )
    randomise_batch_norm(net)
    x = np.random.default_rng(0).standard_normal((3, 180))
    time, space = net.filters.time.weight.detach().numpy(), net.filters.space.weight.detach().numpy()[..., 0]
    z = np.array([[correlate(channel, kernel) for channel in x] for kernel in time[:, 0, 0]])
    z = np.einsum("sfc,fct->st", space, z)
    for block, norm in enumerate(net.norms):
        if block:
            kernels = net.convs[block - 1].weight.detach().numpy()
            z = np.array([sum(correlate(row, k) for row, k in zip(z, kernel)) for kernel in kernels])
        pool = 2 if block else 3
        z = windows_of(elu(batch_norm(z, norm)), pool, pool).max(-1)
    want = net.classifier.weight.detach().numpy() @ z.ravel() + net.classifier.bias.detach().numpy()
    np.testing.assert_allclose(net(torch.from_numpy(x)[None]).detach().numpy()[0], want, rtol=1e-10)


def test_eegnet_is_the_papers_computation():
    net = EEGNet(3, 2, 64, sfreq=32, n_filters_time=2, pool_length_1=2, seed=1).double().eval()
    randomise_batch_norm(net)
    x = np.random.default_rng(0).standard_normal((3, 64))

    def same(row: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        before = (len(kernel) - 1) // 2  # Keras: the larger half comes after
        return correlate(np.pad(row, (before, len(kernel) - 1 - before)), kernel)

    time, space = net.time.weight.detach().numpy()[:, 0, 0], net.space.weight.detach().numpy()[:, 0, :, 0]
    z = batch_norm(np.array([[same(channel, kernel) for channel in x] for kernel in time]), net.time_norm)
    z = np.array([weight @ z[k // 2] for k, weight in enumerate(space)])  # two per temporal filter
    z = windows_of(elu(batch_norm(z, net.space_norm)), 2, 2).mean(-1)
    depthwise, pointwise = net.depthwise.weight.detach().numpy()[:, 0], net.pointwise.weight.detach().numpy()
    z = pointwise[..., 0] @ np.array([same(row, kernel) for row, kernel in zip(z, depthwise)])
    z = windows_of(elu(batch_norm(z, net.separable_norm)), 8, 8).mean(-1)
    want = net.classifier.weight.detach().numpy() @ z.ravel() + net.classifier.bias.detach().numpy()
    np.testing.assert_allclose(net(torch.from_numpy(x)[None]).detach().numpy()[0], want, rtol=1e-10)


@pytest.mark.parametrize("network", [ShallowConvNet, Deep4Net])
def test_composed_filters_give_the_same_output_and_gradients(network):
    sizes = {"n_chans": 4, "n_outputs": 2, "n_times": 300, "sfreq": 125.0, "seed": 3}
    composed, apart = network(**sizes).double().eval(), network(**sizes, composed=False).double().eval()
    torch.nn.init.normal_(composed.filters.time.bias)
    apart.load_state_dict(composed.state_dict())
    x = torch.randn(3, 4, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(composed(x), apart(x), rtol=1e-10, atol=1e-12)
    for net in (composed, apart):
        net(x).square().sum().backward()
    for a, b in zip(composed.parameters(), apart.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS.values())
@pytest.mark.filterwarnings("default")  # the exporter's own
def test_export_with_any_batch_size(network):
    net = network(4, 3, 300, sfreq=125, seed=0).eval()
    x = torch.randn(2, 4, 300, generator=torch.Generator().manual_seed(0))
    dynamic = ({0: torch.export.Dim.AUTO},)
    exported = torch.export.export(net, (x,), dynamic_shapes=dynamic, strict=False)
    more = torch.cat([x, 2 * x, -x])
    torch.testing.assert_close(exported.module()(more), net(more))


@pytest.mark.parametrize("network", NETWORKS.values())
def test_minimum_length_is_named_and_true(network):
    with pytest.raises(NetworkSizeError, match="n_times=1 is too short") as error:
        network(4, 2, 1, sfreq=100)
    minimum = int(str(error.value).split("at least ")[1].split(" samples")[0])
    with pytest.raises(NetworkSizeError, match="too short"):
        network(4, 2, minimum - 1, sfreq=100)
    assert network(4, 2, minimum, sfreq=100).eval()(torch.zeros(1, 4, minimum)).shape == (1, 2)


@pytest.mark.parametrize("network", NETWORKS.values())
def test_wrong_inputs_are_refused(network):
    net = network(4, 2, 300, sfreq=125)
    for shape in ((2, 5, 300), (2, 4, 299), (4, 300), (2, 1, 4, 300)):
        with pytest.raises(NetworkSizeError, match=r"takes \(batch, n_chans=4, n_times=300\)"):
            net(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"model\.to\(torch\.float64\)"):
        net(torch.zeros(2, 4, 300, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [{"n_chans": 0}, {"n_outputs": 2.0}, {"n_times": True}, {"sfreq": 0}, {"drop_prob": 1.0}],
)
@pytest.mark.parametrize("network", NETWORKS.values())
def test_wrong_arguments_are_refused(network, wrong):
    with pytest.raises(NetworkSizeError, match=next(iter(wrong))):
        network(**({"n_chans": 4, "n_outputs": 2, "n_times": 300} | wrong))
    with pytest.raises(NetworkSizeError, match="length"):
        network(4, 2, 300, **{next(name for name in network(4, 2, 600).config if "length" in name): -3})


@pytest.mark.parametrize("network", NETWORKS.values())
def test_seed_draws_the_weights_and_leaves_the_global_state(network):
    before = torch.get_rng_state()
    first, same, other = (network(4, 2, 300, sfreq=125, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters()))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_eegnet_constraints():
    net = EEGNet(8, 3, 300, sfreq=125, seed=0)
    with torch.no_grad():
        net.space.weight.mul_(7)
        net.space.weight[0] *= 0.01
        net.classifier.weight.mul_(7)
    small = net.space.weight[0].clone()
    net.apply_constraints()
    norms = net.space.weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms[1:], torch.ones(15))
    torch.testing.assert_close(net.space.weight[0], small)  # below the limit: untouched
    torch.testing.assert_close(net.classifier.weight.detach().norm(dim=1), torch.full((3,), 0.25))


def test_networks_without_limits_have_no_constraints():
    net = ShallowConvNet(4, 2, 300, sfreq=125)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.apply_constraints()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("network", NETWORKS.values())
def test_config_builds_the_network_again(network):
    net = network(4, 2, 300, sfreq=125)
    again = network(**net.config)
    assert again.config == net.config
    assert [p.shape for p in again.parameters()] == [p.shape for p in net.parameters()]
    assert isinstance(net, EEGNetwork)


def test_dead_filters_have_a_finite_gradient():
    net = ShallowConvNet(2, 2, 60, sfreq=100).eval()
    x = torch.zeros(1, 2, 60, requires_grad=True)
    F.cross_entropy(net(x), torch.tensor([0])).backward()
    assert torch.isfinite(x.grad).all()
