"""The figure holds what it is given, where it says so."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx


@pytest.fixture
def made():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    data = torch.rand(10, 3, 8, 8)
    found = {by: sx.reference_samples(net, data, "1", [0, 2], by, n=3, keep=["input", "box"])
             for by in ("activation", "relevance")}  # fmt: skip
    prototypes = sx.activation_maximisation(net, [0, 2], (3, 8, 8), layer="1", domain=(0, 1), steps=3)
    yield data, found, prototypes
    plt.close("all")


def panels(figure):
    return [ax for ax in figure.axes if ax.images]


def test_each_picture_is_in_its_place(made):
    _, found, prototypes = made
    figure = sx.prototypes.figure(found, prototypes, samples=2, names={0: "edges"}, title="units")
    axes = panels(figure)
    assert len(axes) == 2 * (1 + 2 + 2)
    low, high = (float(f([float(f(ds.input)) for ds in found.values()])) for f in (np.min, np.max))
    wanted = [prototypes.prototype.values[0, 0], *(found[by].input.values[0, k]
              for by in ("activation", "relevance") for k in (0, 1))]  # fmt: skip
    for ax, want in zip(axes[:5], wanted):
        scaled = np.clip((np.moveaxis(want, 0, 2) - low) / (high - low), 0, 1)
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), scaled, rtol=1e-6)
    assert axes[0].get_ylabel() == "edges"
    assert axes[5].get_ylabel() == "2"
    scores = [float(ax.get_title()) for ax in axes[1:3]]
    np.testing.assert_allclose(scores, found["activation"].score.values[0, :2], rtol=1e-2)
    headings = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert headings == ["prototype", "activation", "relevance"]


def test_boxes_are_where_the_unit_looks(made):
    _, found, _ = made
    figure = sx.prototypes.figure(found["activation"], samples=3)
    box = found["activation"].box
    for ax, unit, rank in zip(panels(figure), np.repeat([0, 1], 3), np.tile(range(3), 2)):
        (patch,) = ax.patches
        (top, bottom), (left, right) = box.values[unit, rank, 1:]
        assert patch.get_bbox().bounds == (left - 0.5, top - 0.5, right - left, bottom - top)


def test_missing_samples_leave_a_gap_and_any_input_can_be_drawn():
    net = nn.Linear(5, 2).eval()
    found = sx.reference_samples(net, torch.randn(2, 5), n=3)
    with pytest.raises(ValueError, match=r"shape \(5,\) is no picture: say with picture="):
        sx.prototypes.figure(found)
    figure = sx.prototypes.figure(found, picture=lambda x: np.tile(x, (4, 1)))
    assert len(panels(figure)) == 4
    assert panels(figure)[0].images[0].get_array().shape == (4, 5)
    with pytest.raises(ValueError, match=r"picture= returned the shape \(5,\)"):
        sx.prototypes.figure(found, picture=lambda x: x)
    plt.close("all")


def test_what_does_not_fit_is_refused(made):
    _, found, prototypes = made
    with pytest.raises(ValueError, match=r"holds the units \[0, 2\], another one \[2\]"):
        sx.prototypes.figure(found, prototypes.isel(unit=[1]))
    with pytest.raises(ValueError, match=r"use keep=\['input'\]"):
        sx.prototypes.figure(found["activation"].drop_vars("input"))
    with pytest.raises(ValueError, match="holds no dataset"):
        sx.prototypes.figure({})
