"""Figures show the numbers: what is drawn, on which scale, and where."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

import sciexplain as sx
from sciexplain.domains.images import (
    ImageError,
    boxes,
    patches,
    plot_grid,
    plot_heatmaps,
    plot_overlay,
    plot_regions,
    pool,
    superpixels,
)

from .photos import PREPARE, network, photos


@pytest.fixture(autouse=True)
def closed():
    with mpl.rc_context({"backend": "Agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def ds():
    return sx.images.explain(network(), photos(), preprocess=PREPARE, classes=list("abcd"))


def heatmaps(figure):
    """The images of a figure that are coloured by sign, in the order of drawing."""
    drawn = [image for ax in figure.axes for image in ax.images]
    return [image for image in drawn if image.cmap.name.startswith("RdBu_r")]


def limits(figure):
    return [image.get_clim() for image in heatmaps(figure)]


def bars(figure):
    return [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]


def segments(ax):
    return {
        tuple(map(tuple, np.round(line, 6).tolist()))
        for found in ax.collections
        if isinstance(found, LineCollection)
        for line in found.get_segments()
    }


def test_heatmaps_share_one_symmetric_scale(ds):
    figure = plot_heatmaps(ds, title="three")
    want = np.percentile(np.abs(ds.relevance.sum("color").values), 99.5)
    assert len(heatmaps(figure)) == 3
    np.testing.assert_allclose(limits(figure), [(-want, want)] * 3)
    for k, image in enumerate(heatmaps(figure)):
        np.testing.assert_allclose(image.get_array(), ds.relevance[k].sum("color"), rtol=1e-12)
    assert len(bars(figure)) == 1
    assert figure.get_suptitle() == "three"
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == [f"{t}: {f:.3g}" for t, f in zip(ds.target.values, ds.score.values)]


def test_zero_is_white_and_the_ends_are_red_and_blue():
    zero = xr.DataArray(np.zeros((1, 2, 2)), dims=("sample", "row", "column"))
    (image,) = heatmaps(plot_heatmaps(zero))
    low, middle, high = (np.array(image.cmap(image.norm(v))[:3]) for v in (-1.0, 0.0, 1.0))
    np.testing.assert_allclose(middle, 1.0)
    assert low[2] > 2 * low[0]
    assert high[0] > 2 * high[2]


def test_axes_samples_and_limit_are_taken(ds):
    _, axes = plt.subplots(1, 2)
    figure = plot_heatmaps(ds, axes, samples=[2, 0], limit=0.5)
    assert limits(figure) == [(-0.5, 0.5)] * 2
    np.testing.assert_allclose(axes[0].images[0].get_array(), ds.relevance[2].sum("color"))
    one = plot_heatmaps(ds.relevance.isel(sample=1))
    np.testing.assert_allclose(heatmaps(one)[0].get_array(), ds.relevance[1].sum("color"))


def test_a_grid_has_a_scale_per_method_for_all_or_per_panel(ds):
    other = ds.assign(relevance=ds.relevance * 1000.0)
    results = {"small": ds, "large": other}
    own = [np.percentile(np.abs(r.relevance.sum("color").values), 99.5) for r in results.values()]
    both = [r.relevance.sum("color").values for r in results.values()]

    figure = plot_grid(results)
    np.testing.assert_allclose([high for _, high in limits(figure)], np.repeat([own], 3, axis=0).ravel())
    assert len(bars(figure)) == 2
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:3] == ["picture", "small", "large"]
    seen = sx.images.to_picture(ds).values
    for k in range(3):
        np.testing.assert_allclose(figure.axes[3 * k].images[0].get_array(), seen[k], atol=1e-5)

    figure = plot_grid(results, scale="all", samples=[1, 2], pictures=False)
    shared = np.percentile(np.abs([b[1:] for b in both]), 99.5)
    np.testing.assert_allclose([high for _, high in limits(figure)], [shared] * 4)
    assert len(bars(figure)) == 1

    figure = plot_grid(results, scale="panel")
    want = [np.percentile(np.abs(b[k]), 99.5) for k in range(3) for b in both]
    np.testing.assert_allclose([high for _, high in limits(figure)], want)
    assert not bars(figure)
    assert "own symmetric scale" in figure.get_suptitle()


def test_overlays_lie_where_the_crop_was(ds):
    figure = plot_overlay(ds, photos())
    for k, (image, picture) in enumerate(zip(heatmaps(figure), photos())):
        rows, columns = picture.shape[:2]
        wide = 40 * columns // min(rows, columns)
        high = 40 * rows // min(rows, columns)
        step = rows / high, columns / wide
        left, right, bottom, top = image.get_extent()
        np.testing.assert_allclose(top, (high - 32 + 1) // 2 * step[0] - 0.5)
        np.testing.assert_allclose(left, (wide - 36 + 1) // 2 * step[1] - 0.5)
        np.testing.assert_allclose([bottom - top, right - left], [32 * step[0], 36 * step[1]])
        assert image.axes.get_xlim() == (-0.5, columns - 0.5)
        gray = image.axes.images[0].get_array()
        np.testing.assert_allclose(gray, picture / 255 @ [0.299, 0.587, 0.114], atol=1e-9)
        np.testing.assert_allclose(image.get_array(), ds.relevance[k].sum("color"))
    (alone,) = heatmaps(plot_overlay(ds, photos(), samples=[2]))
    assert alone.axes.get_xlim() == (-0.5, 599.5)
    assert plot_overlay(ds).axes[0].get_xlim() == (-0.5, 35.5)


def test_faint_relevance_lets_the_picture_through(ds):
    image = heatmaps(plot_overlay(ds))[0]
    alpha = [image.cmap(image.norm(v * image.norm.vmax))[3] for v in (-1, -0.5, 0, 0.5, 1)]
    assert alpha[2] == 0
    assert alpha == alpha[::-1]
    assert alpha[0] > alpha[1] > 0.3


def test_borders_run_along_pixel_edges():
    r = xr.DataArray(np.ones((1, 3, 3)), dims=("sample", "row", "column"))
    labels = xr.DataArray([[0, 0, 1], [0, 0, 1], [2, 2, 2]], dims=("row", "column"))
    found = segments(plot_heatmaps(r, regions=labels).axes[0])
    want = {((1.5, -0.5), (1.5, 0.5)), ((1.5, 0.5), (1.5, 1.5))}
    want |= {((c - 0.5, 1.5), (c + 0.5, 1.5)) for c in range(3)}
    assert found == want
    assert segments(plot_heatmaps(r, regions=boxes({"a": (0, 0, 2, 2)}, (3, 3))).axes[0]) == {
        ((1.5, -0.5), (1.5, 0.5)),
        ((1.5, 0.5), (1.5, 1.5)),
        ((-0.5, 1.5), (0.5, 1.5)),
        ((0.5, 1.5), (1.5, 1.5)),
    }


def test_regions_are_filled_with_their_totals(ds):
    own = superpixels(ds, 12)
    pooled = pool(ds, own)
    figure = plot_regions(ds, own, pooled, samples=[1, 2])
    for k, image in zip((1, 2), heatmaps(figure)):
        want = pooled.sum("color").isel(sample=k).sel(region=own.isel(sample=k))
        np.testing.assert_allclose(image.get_array(), want.values)
    top = np.abs(pooled.sum("color").values[1:]).max()
    np.testing.assert_allclose(limits(figure), [(-top, top)] * 2)
    box = boxes({"left": (0, 0, 32, 9)}, ds)
    figure = plot_regions(ds, box, pool(ds, box))
    total = float(ds.relevance[0, :, :9].sum())
    np.testing.assert_allclose(heatmaps(figure)[0].get_array()[:, :9], total)
    np.testing.assert_allclose(heatmaps(figure)[0].get_array()[:, 9:], 0)
    assert [text.get_text() for text in figure.axes[0].texts] == ["left"]
    assert not bars(plot_regions(ds, patches(ds, 8)))


def test_labels_say_what_the_colours_mean(ds):
    (bar,) = bars(plot_heatmaps(ds, limit=3e-5))
    assert bar.get_ylabel() == "relevance in $10^{-5}$"
    bar.figure.canvas.draw()
    assert {"-3", "0", "1.5"} <= {label.get_text() for label in bar.get_yticklabels()}
    assert bars(plot_heatmaps(ds, limit=0.02))[0].get_ylabel() == "relevance"
    squared = sx.images.explain(network(), photos(), preprocess=PREPARE, method="sensitivity")
    assert "squared gradient" in bars(plot_heatmaps(squared))[0].get_ylabel()
    named = ds.assign_coords(picture=("sample", ["a/astronaut.png", "cat.png", "c" * 99]))
    titles = [ax.get_title().split("\n")[0] for ax in plot_heatmaps(named).axes[:3]]
    assert titles == ["astronaut.png", "cat.png", "c" * 29 + "…"]


def test_errors(ds):
    for make, words in (
        (lambda: plot_heatmaps(ds, samples=[5]), r"samples \[5\] are not there; there are \[0, 1, 2\]"),
        (lambda: plot_heatmaps(ds, plt.subplots()[1]), "3 panels to draw, 1 axes given"),
        (lambda: plot_heatmaps(ds.relevance.rename(row="y")), "needs the dims sample, row, column"),
        (lambda: plot_heatmaps(ds.relevance.where(ds.row > 1)), "not finite"),
        (lambda: plot_heatmaps(3), "got int"),
        (lambda: plot_grid({}), "no results"),
        (lambda: plot_grid({"a": ds}, scale="row"), "scale='row'; possible are"),
        (lambda: plot_grid({"a": ds, "b": ds.isel(row=slice(5))}), r"'b' has the shape \(3, 5, 36\)"),
        (lambda: plot_overlay(ds, photos()[::-1]), r"sample 0 has \(400, 600\) pixels, recorded are"),
        (lambda: plot_overlay(ds, photos()[:2]), "2 originals for 3 samples"),
        (lambda: plot_overlay(ds.drop_vars(["input", "message"])), "give the original pictures"),
        (lambda: plot_regions(ds.drop_vars(["input", "message"]), patches(ds, 4)), "variable `input`"),
        (lambda: plot_regions(ds, patches((8, 8), 4)), r"\(8, 8\) pixels"),
        (lambda: plot_regions(ds, patches(ds, 4), ds.score), "need the dim `region`"),
    ):
        with pytest.raises(ImageError, match=words):
            make()
