import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import sciexplain as sx
from sciexplain import eeg
from sciexplain.domains.eeg.plots import _style as style

from .eeg_fixtures import NAMES_22, NAMES_64, Linear, make_epochs

mpl.use("Agg")
import matplotlib.pyplot as plt

CLASSES = ("left", "right")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module", params=[NAMES_22, NAMES_64], ids=["22 channels", "64 channels"])
def ds(request):
    names = request.param
    epochs = make_epochs(names, description="simulated noise")
    options = {"classes": CLASSES, "target": "event", "method": "gradient_times_input", "progress": False}
    return eeg.explain(Linear(len(names)), epochs, **options)


def scaled(figure):
    """Artists with a colour scale, without the colour bars' own."""
    bars = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    images = [image for ax in figure.axes if ax not in bars for image in ax.images]
    return images, bars


def drawn(figure, *, images, label):
    """Draw, and check what every picture promises: a shared symmetric scale, one labelled bar, white zero."""
    figure.canvas.draw()
    found, bars = scaled(figure)
    assert len(found) == images
    limits = {image.get_clim() for image in found}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    assert len(bars) == 1
    assert bars[0].get_ylabel().replace("\n", " ") == label
    for image in found:
        assert image.cmap(image.norm(0.0)) == pytest.approx((1, 1, 1, 1), abs=1e-6)
    return high


def hidden_ticks(figure):
    """Labels of ticks outside the view, which Matplotlib keeps but does not draw."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            for tick in axis.get_major_ticks():
                if not low - slack <= tick.get_loc() <= high + slack:
                    yield from (tick.label1, tick.label2)


def overlapping_texts(figure):
    """Pairs of texts whose boxes intersect by more than a point, and texts that leave the figure."""
    figure.canvas.draw()
    hidden = {id(text) for text in hidden_ticks(figure)}
    boxes = []
    for text in figure.findobj(mpl.text.Text):
        upright = text.get_rotation() in (0, 90)  # the box of a slanted text is larger than the text
        if text.get_visible() and text.get_text().strip() and upright and id(text) not in hidden:
            boxes.append((text.get_text(), text.get_window_extent()))
    pairs = [(one, "outside") for one, a in boxes if a.x0 < -1 or a.y0 < -1 or a.x1 > figure.bbox.x1 + 1]
    for i, (one, a) in enumerate(boxes):
        for two, b in boxes[i + 1 :]:
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            if wide > 1.5 and high > 1.5:
                pairs.append((one, two))
    return pairs


def test_the_check_of_overlaps_finds_some():
    figure, ax = plt.subplots()
    ax.set_axis_off()
    ax.text(0.5, 0.5, "one")
    ax.text(0.51, 0.5, "two")
    ax.text(0.99, 0.9, "far too long for the figure it is in")
    assert overlapping_texts(figure) == [("far too long for the figure it is in", "outside"), ("one", "two")]


def test_topomap_sums_over_time_and_averages_over_trials(ds):
    figure = eeg.plot_topomap(ds, "target")
    means = [ds.relevance.values[i::2].sum(-1).mean(0) for i in range(2)]
    limit = drawn(figure, images=2, label="relevance (logit)")
    assert limit == pytest.approx(max(np.abs(m).max() for m in means), rel=1e-6)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["left (n = 3)", "right (n = 3)"]
    assert figure.get_suptitle() == "Simulated data"
    # Interpolated, but never beyond what the channels hold: a smoother surface would invent relevance.
    for image, mean in zip(scaled(figure)[0], means):
        surface = np.ma.masked_invalid(image.get_array()).compressed()
        assert mean.min() - 1e-9 <= surface.min()
        assert surface.max() <= mean.max() + 1e-9


def test_topomap_of_pooled_relevance_needs_only_coordinates(ds):
    mean = ds.relevance.mean("epoch").sum("time").drop_attrs()
    figure = eeg.plot_topomap(mean, title="mean")
    drawn(figure, images=1, label="relevance (logit)")
    assert figure.get_suptitle() == "mean"  # the attribute that says simulated is gone with the others


def test_topomap_of_bands_and_given_axes(ds):
    bands = sx.band_relevance(ds, {"mu": (8, 13), "beta": (13, 30)})
    own = eeg.plot_topomap(bands, "band")
    drawn(own, images=3, label="relevance (logit)")
    assert [ax.get_title() for ax in own.axes[:3]] == ["mu", "beta", "rest"]
    figure, axes = plt.subplots(1, 3)
    assert eeg.plot_topomap(bands, "band", axes, limit=1e3) is figure
    assert drawn(figure, images=3, label="relevance (logit)") == 1e3
    with pytest.raises(eeg.PlotError, match="3 panels to draw, 2 axes given"):
        eeg.plot_topomap(bands, "band", axes[:2])
    with pytest.raises(eeg.PlotError, match="cannot show the dims band as well"):
        eeg.plot_topomap(bands)


def test_topomap_marks_values_beyond_a_given_limit(ds):
    def pointed(limit):
        figure = eeg.plot_topomap(ds, limit=limit)
        return next(ax for ax in figure.axes if ax.get_label() == "<colorbar>")._colorbar.extend

    assert pointed(1e-9) == "both"
    assert pointed(1e9) == "neither"


def test_topomap_names_take_the_place_of_dots(ds):
    figure = eeg.plot_topomap(ds, names=True)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ds.channel.values.tolist()
    assert not [dots for dots in ax.collections if len(dots.get_offsets()) == ds.sizes["channel"]]
    assert [len(dots.get_offsets()) for dots in eeg.plot_topomap(ds).axes[0].collections] == [
        ds.sizes["channel"]
    ]


@pytest.mark.parametrize("names", [NAMES_22, NAMES_64])
def test_head_outline_runs_through_fpz_and_oz_whatever_the_channels(names):
    from sciexplain.domains.eeg.plots.topomap import _sphere

    template = {ch["ch_name"]: ch["loc"][:3] for ch in make_epochs(NAMES_64).info["chs"]}
    shift, factor = np.array([0.01, -0.02, 0.005]), 0.9
    sphere = np.array(_sphere(list(names), np.array([template[n] for n in names]) * factor + shift))
    for name in ("Fpz", "Oz"):
        place = template[name] * factor + shift
        assert abs(place[1] - sphere[1]) == pytest.approx(sphere[3], rel=1e-3)
    assert _sphere(["E1", "E2"], np.zeros((2, 3))) == (0.0, 0.0, 0.0, 0.095)


def test_the_surface_ends_at_the_head_or_the_outermost_electrode(ds):
    ax = eeg.plot_topomap(ds).axes[0]
    clip = ax.transData.inverted().transform_path(ax.images[0].get_clip_path().get_fully_transformed_path())
    outline = next(line for line in ax.lines if len(line.get_xdata()) > 50).get_xydata()
    centre = (outline.max(0) + outline.min(0)) / 2
    furthest = [np.linalg.norm(p - centre, axis=1).max() for p in (outline, ax.collections[0].get_offsets())]
    assert np.linalg.norm(clip.vertices - centre, axis=1).max() <= max(furthest) * 1.001


def test_time_course_is_the_mean_with_its_student_interval(ds):
    from scipy import stats

    figure = eeg.plot_time_course(ds, "target", width=None, confidence=0.9)
    (ax,) = figure.axes
    trials = ds.relevance.values[::2].sum(1)  # left
    lines = [line for line in ax.lines if line.get_label().startswith(CLASSES)]
    np.testing.assert_allclose(lines[0].get_ydata(), trials.mean(0), rtol=1e-6, atol=1e-9)
    low, high = stats.t.interval(0.9, 2, trials.mean(0), stats.sem(trials, 0))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(low.min(), rel=1e-6)
    assert band.max() == pytest.approx(high.max(), rel=1e-6)
    assert [line.get_label() for line in lines] == ["left (n = 3)", "right (n = 3)"]
    assert ax.get_ylabel() == "relevance\n(logit per sample)"
    assert ax.get_xlabel() == "time (s)"


def test_time_course_windows_keep_the_total(ds):
    figure = eeg.plot_time_course(ds)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "n = 6")
    assert len(line.get_ydata()) == 5
    assert line.get_ydata().sum() == pytest.approx(float(ds.relevance.sum()) / 6, rel=1e-6)
    np.testing.assert_allclose(line.get_xdata(), -0.1 + 0.045 + 0.1 * np.arange(5))
    assert figure.axes[0].get_ylabel() == "relevance\n(logit per 0.1 s)"


@pytest.mark.parametrize(
    ("n_times", "counts"), [(50, [10] * 5), (51, [10, 10, 10, 10, 11]), (57, [10] * 5 + [7])]
)
def test_a_last_window_that_is_not_full_does_not_fall(n_times, counts):
    ones = xr.DataArray(
        np.ones((2, n_times)), dims=("epoch", "time"), coords={"time": np.arange(n_times) / 100}
    )
    rate, width = style.bins(ones, 0.1)
    np.testing.assert_allclose(rate.values, 10.0)
    starts = np.cumsum([0, *counts[:-1]])
    np.testing.assert_allclose(rate.time.values, (starts + (np.array(counts) - 1) / 2) / 100)
    assert width == pytest.approx(0.1)
    with pytest.raises(eeg.PlotError, match="width must be a positive number"):
        style.bins(ones, 0.0)


def test_time_course_of_regions_shares_the_axis(ds):
    pooled = sx.pool(ds.relevance, sx.regions(eeg.hemispheres(ds.channel), along=ds.channel))
    figure = eeg.plot_time_course(pooled.assign_coords(target=ds.target), "target")
    assert [ax.get_title("left") for ax in figure.axes] == ["left", "right", "rest"]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert figure.get_supylabel() == "relevance (logit per 0.1 s)"


def test_trial_rows_run_front_to_back(ds):
    figure = eeg.plot_trial(ds, 3)
    limit = drawn(figure, images=1, label="relevance (logit per sample)")
    ax = figure.axes[0]
    order = eeg.scalp_order(ds.channel)
    np.testing.assert_array_equal(ax.images[0].get_array(), ds.relevance.values[3][order])
    assert limit == pytest.approx(np.percentile(np.abs(ds.relevance.values[3]), 99.5), rel=1e-6)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ds.channel.values[order].tolist()
    assert ax.images[0].get_extent() == pytest.approx([-0.105, 0.395, len(order) - 0.5, -0.5])
    total, score = float(ds.relevance[3].sum()), float(ds.score[3])
    first, second = ax.get_title("left").split("\n")
    assert first == "Trial 3 (right), explained: right"
    assert second == f"score {score:.3g}, relevance sums to {total:.3g} logit (simulated data)"


def test_trial_windows_and_errors(ds):
    figure = eeg.plot_trial(ds, 0, width=0.05, limit=2.0, title="one")
    assert drawn(figure, images=1, label="relevance (logit per 0.05 s)") == 2.0
    assert figure.axes[0].get_title("left") == "one (simulated data)"
    assert figure.axes[0].images[0].get_array().shape[1] == 10
    with pytest.raises(
        eeg.PlotError, match=r"epoch=9 is not on the epoch coordinate; there are 0 ... 5 \(6\)"
    ):
        eeg.plot_trial(ds, 9)
    with pytest.raises(eeg.PlotError, match="needs the dims epoch, channel, time; given epoch, channel"):
        eeg.plot_trial(ds.isel(time=0, drop=True))


def test_bars_of_bands(ds):
    bands = sx.band_relevance(ds, eeg.BANDS).assign_coords(target=ds.target)
    figure = eeg.plot_bands(bands, "target")
    (ax,) = figure.axes
    left = bands.values[::2].sum(bands.get_axis_num("channel")).mean(0)
    heights = [bar.get_height() for bar in ax.containers[1]]
    np.testing.assert_allclose(heights, left, rtol=1e-9)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [*eeg.BANDS, "rest"]
    assert ax.get_ylabel() == "relevance (logit)"
    total = float(ds.relevance.sum())
    alone = eeg.plot_bands(bands)
    drawn_total = sum(bar.get_height() for bar in alone.axes[0].patches)
    assert drawn_total * 6 == pytest.approx(total, rel=1e-6)


def test_bands_over_time(ds):
    spectrum = sx.time_frequency_relevance(ds, window_seconds=0.25)
    bands = sx.pool(spectrum, sx.bands({"mu": (8, 13), "beta": (13, 30)}, along=spectrum.frequency))
    figure = eeg.plot_bands(bands.assign_coords(target=ds.target), "target")
    drawn(figure, images=2, label="relevance (logit per band and window)")
    want = bands.sum("channel").mean("epoch").transpose("band", "window").values
    image = eeg.plot_bands(bands).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), want, rtol=1e-9, atol=1e-12)
    assert image.origin == "lower"


def test_class_averages(ds):
    figure = eeg.plot_class_averages(ds)
    drawn(figure, images=2, label="relevance (logit)")
    assert figure.get_suptitle() == "Simulated data"
    assert len(figure.axes) == 4  # two maps, a time course, a bar
    fig, axes = plt.subplots(1, 3)
    assert eeg.plot_class_averages(ds, "event", axes) is fig
    with pytest.raises(eeg.PlotError, match="2 classes need 3 axes, 2 given"):
        eeg.plot_class_averages(ds, axes=axes[:2])
    with pytest.raises(eeg.PlotError, match="needs the dims epoch, channel, time"):
        eeg.plot_class_averages(ds.relevance.mean("time").assign_coords(target=ds.target))


@pytest.mark.parametrize(
    "draw",
    [
        lambda ds: eeg.plot_topomap(ds, "target"),
        lambda ds: eeg.plot_time_course(ds, "target"),
        lambda ds: eeg.plot_trial(ds, 1),
        lambda ds: eeg.plot_bands(sx.band_relevance(ds, eeg.BANDS).assign_coords(target=ds.target), "target"),
        lambda ds: eeg.plot_class_averages(ds, title="A network"),
    ],
    ids=["topomap", "time course", "trial", "bands", "class averages"],
)
def test_no_text_lies_on_another(ds, draw):
    assert overlapping_texts(draw(ds)) == []


def test_small_axes_of_others_stay_readable(ds):
    bands = sx.band_relevance(ds, eeg.BANDS)
    figure, axes = plt.subplots(2, 2, figsize=(7, 5), layout="constrained")
    eeg.plot_trial(ds, 1, axes[0, 0])
    eeg.plot_time_course(ds, "target", axes[0, 1])
    eeg.plot_topomap(ds, axes=axes[1, 0])
    eeg.plot_bands(bands, axes=axes[1, 1])
    assert overlapping_texts(figure) == []
    assert len(axes[0, 0].get_yticklabels()) < ds.sizes["channel"]


def test_zero_relevance_is_white_and_nan_is_refused(ds):
    drawn(eeg.plot_topomap(ds.relevance * 0.0), images=1, label="relevance (logit)")
    one_nan = ds.relevance.copy(deep=True)
    one_nan[2, 1, 7] = np.nan
    for draw in (eeg.plot_topomap, eeg.plot_time_course):
        with pytest.raises(eeg.PlotError, match="not finite"):
            draw(one_nan)
    with pytest.raises(eeg.PlotError, match="not finite"):
        eeg.plot_bands(one_nan.rename(channel="band").sum("time", skipna=False))
    with pytest.raises(eeg.PlotError, match="not finite"):
        eeg.plot_trial(ds.assign(relevance=one_nan), 2)


def test_what_cannot_be_drawn_is_named(ds):
    with pytest.raises(eeg.PlotError, match="a topography needs the dims channel; given epoch, time"):
        eeg.plot_topomap(ds.relevance.sum("channel"))
    with pytest.raises(eeg.PlotError, match="the dataset has no variable 'relevance'; there are score"):
        eeg.plot_topomap(ds[["score"]])
    with pytest.raises(eeg.PlotError, match=r"channels without a position: .*set a montage"):
        eeg.plot_topomap(ds.relevance.drop_vars(["channel_x", "channel_y", "channel_z"]))
    with pytest.raises(eeg.EpochsError, match="by='side' is not a coordinate of the epochs"):
        eeg.plot_topomap(ds, "side")
    with pytest.raises(eeg.PlotError, match="by='target': no dim of this name and no epochs"):
        eeg.plot_topomap(ds.relevance.mean("epoch"), "target")


def test_nothing_is_left_open_or_changed(ds):
    before = ds.copy(deep=True)
    with mpl.rc_context():
        settings = dict(mpl.rcParams)
        eeg.plot_class_averages(ds)
        eeg.plot_trial(ds)
        assert dict(mpl.rcParams) == settings
    xr.testing.assert_identical(ds, before)
