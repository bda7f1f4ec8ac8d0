"""DigitNet, ThumbnailNet, EfficientNetLite0, ShiftFlip: sizes, slow forward passes, their own properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sciexplain import data
from sciexplain.models import (
    PICTURE_NETWORKS,
    DigitNet,
    EfficientNetLite0,
    NetworkSizeError,
    ShiftFlip,
    ThumbnailNet,
    accuracy,
    fit,
    load_checkpoint,
    load_efficientnet_lite0,
    save_checkpoint,
)
from sciexplain.models.efficientnet_lite import MEAN, SCALE

SIZES = {"DigitNet": (1, 28, 28), "ThumbnailNet": (3, 32, 32), "EfficientNetLite0": (3, 64, 64)}


def conv(x: np.ndarray, layer: torch.nn.Conv2d, low: int, high: int, fill: float = 0.0) -> np.ndarray:
    """(color, row, column), padded by `low` before and `high` after; groups 1 or one per channel."""
    weight = layer.weight.detach().numpy()
    stride, kernel = layer.stride[0], weight.shape[-1]
    x = np.pad(x, ((0, 0), (low, high), (low, high)), constant_values=fill)
    n = (x.shape[1] - kernel) // stride + 1
    out = np.zeros((len(weight), n, n))
    for i in range(n):
        for j in range(n):
            window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            if layer.groups == 1:
                out[:, i, j] = np.tensordot(weight, window, 3)
            else:
                out[:, i, j] = (weight[:, 0] * window).sum((1, 2))
    return out if layer.bias is None else out + layer.bias.detach().numpy()[:, None, None]


def norm(x: np.ndarray, layer: torch.nn.BatchNorm2d) -> np.ndarray:
    values = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    mean, var, weight, bias = (v.detach().numpy()[:, None, None] for v in values)
    return (x - mean) / np.sqrt(var + layer.eps) * weight + bias


def pooled(x: np.ndarray, how: str) -> np.ndarray:
    c, h, w = x.shape
    return getattr(x.reshape(c, h // 2, 2, w // 2, 2), how)((2, 4))


def randomised(net: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    return net.double().eval()


def forward(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(x)[None])[0].numpy()


@pytest.mark.parametrize("bias", [True, False])
def test_digit_net_slowly(bias):
    net = DigitNet(bias=bias, seed=1).double().eval()
    x = np.random.default_rng(0).random((1, 28, 28))
    z = pooled(np.maximum(conv(x, net.features[0], 0, 0), 0), "mean")
    z = pooled(np.maximum(conv(z, net.features[3], 0, 0), 0), "mean").ravel()
    for layer, last in ((net.classifier[0], False), (net.classifier[2], True)):
        z = layer.weight.detach().numpy() @ z + (layer.bias.detach().numpy() if bias else 0)
        z = z if last else np.maximum(z, 0)
    np.testing.assert_allclose(forward(net, x), z, rtol=1e-10)


def test_digit_net_without_biases_is_homogeneous():
    x = np.random.default_rng(0).random((1, 28, 28))
    net = DigitNet(bias=False, seed=1).double()
    np.testing.assert_allclose(forward(net, 3 * x), 3 * forward(net, x), rtol=1e-10)
    assert abs(forward(DigitNet(seed=1).double(), np.zeros((1, 28, 28)))).max() > 1e-3


def test_thumbnail_net_slowly():
    net = randomised(ThumbnailNet(seed=1))
    x = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32))
    z, layers = x, list(net.features)
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            z = conv(z, layer, 1, 1)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            z = np.maximum(norm(z, layer), 0)
        elif isinstance(layer, torch.nn.MaxPool2d):
            z = pooled(z, "max")
    want = net.classifier.weight.detach().numpy() @ z.mean((1, 2)) + net.classifier.bias.detach().numpy()
    np.testing.assert_allclose(forward(net, x), want, rtol=1e-10)


def test_efficientnet_slowly():
    net = randomised(EfficientNetLite0(7, seed=1))
    x = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32))

    def normed(x, part, relu=True):
        layer = part.conv
        missing = {(1, 3): 2, (1, 5): 4, (2, 3): 1, (2, 5): 3}.get((layer.stride[0], layer.kernel_size[0]), 0)
        if x.shape[1] == 1 and layer.stride[0] == 2:
            missing = layer.kernel_size[0] - 1
        z = norm(conv(x, layer, missing // 2, missing - missing // 2), part.norm)
        return np.clip(z, 0, 6) if relu else z

    z = normed(x, net.stem)
    for block in net.blocks:
        inner = z if block.expand is None else normed(z, block.expand)
        out = normed(normed(inner, block.depthwise), block.project, relu=False)
        z = z + out if out.shape == z.shape else out
    z = normed(z, net.head).mean((1, 2))
    want = net.classifier.weight.detach().numpy() @ z + net.classifier.bias.detach().numpy()
    np.testing.assert_allclose(forward(net, x), want, rtol=1e-9, atol=1e-12)
    assert abs(want).max() > 1e-3


def test_the_16_bottlenecks_add_where_table_1_repeats_them():
    # EfficientNet-B0 has 1 2 2 3 3 4 1 blocks per stage; all but the first of a stage keep the sizes
    adds = [block.adds for block in EfficientNetLite0(seed=0).blocks]
    assert adds == [n > 0 for repeats in (1, 2, 2, 3, 3, 4, 1) for n in range(repeats)]


def test_efficientnet_knows_the_photos():
    if not (data.available("imagenet_photos") and data.available("efficientnet_lite0")):
        pytest.skip("photos or weights are not on this disk")
    pillow = pytest.importorskip("PIL.Image")
    net = load_efficientnet_lite0(next(iter(data.fetch("efficientnet_lite0", offline=True).values())))
    right = 0
    for path in data.fetch("imagenet_photos", offline=True).values():
        picture = pillow.open(path)
        scale = 256 / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], pillow.Resampling.BICUBIC)
        left, top = ((side - 224) // 2 for side in picture.size)
        x = np.asarray(picture.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
        logits = forward(net, ((x - MEAN) / SCALE).astype(np.float32).transpose(2, 0, 1))
        right += int(logits.argmax()) == int(path.stem.rsplit("_", 1)[1])
    assert right >= 17


def test_another_state_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(NetworkSizeError, match="_conv_stem"):
        load_efficientnet_lite0(tmp_path / "other.pth")
    torch.save(
        {"_conv_stem.weight": torch.zeros(2), "_fc.weight": torch.zeros(5, 1280)}, tmp_path / "part.pth"
    )
    with pytest.raises(NetworkSizeError, match="does not fit"):
        load_efficientnet_lite0(tmp_path / "part.pth")


@pytest.mark.parametrize("name", PICTURE_NETWORKS)
def test_checkpoint_config_seed_and_refusals(name, tmp_path):
    network, size = PICTURE_NETWORKS[name], SIZES[name]
    before = torch.get_rng_state()
    net = network(4, seed=2).eval()
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(2, *size)
    again, info = load_checkpoint(save_checkpoint(net, tmp_path / "net.safetensors", info={"a": 1}))
    assert type(again) is network
    assert info == {"a": 1}
    assert torch.equal(again(x), net(x))
    assert torch.equal(network(4, seed=2).eval()(x), net(x))
    with pytest.raises(NetworkSizeError, match="color"):
        net(torch.rand(2, 7, *size[1:]))
    for wrong in (0, True, 2.5):
        with pytest.raises(NetworkSizeError, match="n_outputs"):
            network(wrong)


def test_digit_net_learns_bars():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    x = 0.1 * torch.rand(40, 1, 28, 28, generator=generator)
    x[y == 0, :, 14] += 1
    x[y == 1, :, :, 14] += 1
    net = DigitNet(2, seed=0)
    fit(net, x, y, epochs=5, lr=1e-2, batch_size=8, augment=ShiftFlip(3), progress=False)
    assert accuracy(net, x, y) == 1.0


def test_shift_flip_shows_every_place_and_only_moves_pixels():
    picture = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    allowed = {}
    for flip in (False, True):
        base = picture.flip(3) if flip else picture
        padded = F.pad(base, (1, 1, 1, 1), value=-1.0)
        for i in range(3):
            for j in range(3):
                allowed[tuple(padded[0, 0, i : i + 3, j : j + 4].flatten().tolist())] = 0
    assert len(allowed) == 18
    out = ShiftFlip(1, fill=-1.0)(picture.expand(1800, 1, 3, 4), torch.Generator().manual_seed(0))
    for row in out.flatten(1).tolist():
        allowed[tuple(row)] += 1  # a KeyError: not a shifted or mirrored picture
    assert min(allowed.values()) > 60  # 100 expected of each
    still = ShiftFlip(0, flip=False)(picture, torch.Generator().manual_seed(0))
    assert torch.equal(still, picture)
    colours = torch.stack([picture[0, 0], -picture[0, 0]])[None].expand(9, 2, 3, 4)
    moved = ShiftFlip(2)(colours, torch.Generator().manual_seed(1))
    assert torch.equal(moved[:, 0], -moved[:, 1])  # all colours of a picture move together


def test_shift_flip_refuses():
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="max_shift"):
            ShiftFlip(wrong)
    with pytest.raises(ValueError, match="not below"):
        ShiftFlip(3)(torch.zeros(1, 1, 3, 9), torch.Generator())
