"""Where on the scalp: relevance summed over time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.plots import _style as style
from sciexplain.domains.eeg.regions import channel_positions

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_topomap(
    relevance: xr.Dataset | xr.DataArray,
    by: str | None = None,
    axes: Any = None,
    *,
    limit: float | None = None,
    names: bool = False,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Topography of relevance: summed over time, averaged over epochs, one panel per value of `by`.

    Parameters
    ----------
    relevance : Dataset of `sx.eeg.explain`, or DataArray (channel, ...) with `channel_x`, `channel_y`,
        `channel_z`
    by : coordinate of the epochs ("target", "event") or another dim ("band", "window"): a panel each, all on
        one scale
    axes : as many as there are panels; a new figure by default
    limit : end of the symmetric colour scale; default the largest absolute channel value of all panels
    names : write channel names, readable up to about 32
    title, cmap

    Raises
    ------
    PlotError
        No channel dim, a position is missing, a dim is left over, or the number of axes does not fit.
    """
    array = style.relevance_of(relevance, by)
    style.require(array, ["channel"], "a topography")
    parts = style.groups(style.total(array, [dim for dim in ("time", "window") if dim != by]), by)
    maps = [style.mean_over_epochs(part) for _, part in parts]
    for values in maps:
        style.only(values, ["channel"], "a topography")
    limit = limit or style.symmetric_limit(m.values for m in maps)

    size = (2.3, 2.5) if not names else (3.0, 3.1) if array.sizes["channel"] <= 32 else (4.6, 4.7)
    figure, given = style.panels(axes, len(parts), columns=5, size=size)
    image = None
    for ax, (label, part), values in zip(given, parts, maps):
        image = draw_topomap(values, ax, limit=limit, names=names, cmap=cmap)
        ax.set_title(style.counted(label, part, by), fontsize=10)
    assert image is not None
    clipped = any(float(np.abs(m).max()) > limit * (1 + 1e-9) for m in maps)
    style.color_bar(image, given, f"relevance ({style.unit(array)})", clipped)
    heading = style.heading(title, array)
    if heading and axes is None:
        figure.suptitle(heading, fontsize=11)
    return figure


def draw_topomap(
    values: xr.DataArray, ax: Axes, *, limit: float, names: bool = False, cmap: str = style.CMAP
) -> Any:
    """One map (channel,) into one axes; the image, for a colour bar."""
    import mne

    positions = channel_positions(values["channel"])
    labels = [str(name) for name in values["channel"].values]
    unplaced = [label for label, position in zip(labels, positions) if not np.isfinite(position).all()]
    if unplaced:
        raise style.PlotError(
            f"channels without a position: {', '.join(unplaced)} (set a montage on the epochs first)"
        )
    info = mne.create_info(labels, 1.0, "eeg", verbose="error")
    for channel, position in zip(info["chs"], positions):
        channel["loc"][:3] = position
    sphere = _sphere(labels, positions)
    image, _ = mne.viz.plot_topomap(
        values.values.astype(np.float64),
        info,
        axes=ax,
        show=False,
        cmap=style.color_map(cmap),
        vlim=(-limit, limit),
        contours=0,
        names=labels if names else None,
        # Linear, and only as far as the electrodes reach: a smoother surface overshoots into the other sign,
        # and the rim of a small montage would be all invention.
        image_interp="linear",
        extrapolate="local",
        sphere=sphere,
        res=128,
    )
    _within_head(image, ax, sphere)
    if names:
        _names_for_dots(ax, len(labels))
    return image


def _within_head(image: Any, ax: Axes, sphere: tuple[float, float, float, float]) -> None:
    """Cut the surface at the head's outline, or at the outermost electrode if that lies beyond."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    centre = np.array(sphere[:2])
    dots = [np.asarray(scatter.get_offsets()) for scatter in ax.collections]
    reach = max([sphere[3], *(float(np.linalg.norm(places - centre, axis=1).max()) for places in dots)])
    clip = image.get_clip_path()
    if clip is None:
        return
    around = ax.transData.inverted().transform_path(clip.get_fully_transformed_path())
    rays = around.interpolated(40).vertices - centre
    lengths = np.linalg.norm(rays, axis=1, keepdims=True)
    rays = rays * np.minimum(1.0, reach / np.maximum(lengths, 1e-12))
    image.set_clip_path(PathPatch(Path(rays + centre), transform=ax.transData))


def _names_for_dots(ax: Axes, count: int) -> None:
    """MNE writes each name onto its dot, where neither is readable: take the dots away."""
    from matplotlib.patheffects import withStroke

    for dots in list(ax.collections):
        if len(np.asarray(dots.get_offsets())) == count:
            dots.remove()
    for text in ax.texts:
        text.set(fontsize=7, horizontalalignment="center", verticalalignment="center")
        text.set_path_effects(
            [withStroke(linewidth=1.5, foreground="white")]
        )  # readable on dark red and blue


def _sphere(labels: list[str], positions: np.ndarray) -> tuple[float, float, float, float]:
    """Head outline (x, y, z, radius) through Fpz and Oz, where the 10-20 system draws it.

    MNE's default sphere sits between the ears and leaves Fpz outside the head. The outline of the template is
    moved and scaled to the given electrodes by least squares over the names they share, so it is the same
    for a few channels as for all.
    """
    template = _template()
    shared = [i for i, label in enumerate(labels) if label.upper() in template]
    if len(shared) < 4:
        return _DEFAULT_SPHERE
    given = positions[shared]
    ideal = np.array([template[labels[i].upper()] for i in shared])
    spread = ideal - ideal.mean(axis=0)
    scale = float((spread * (given - given.mean(axis=0))).sum() / (spread**2).sum())
    if not 0.6 < scale < 1.6:
        return _DEFAULT_SPHERE
    front, back, left = template["FPZ"], template["OZ"], template["T7"]
    centre = np.array([0.0, (front[1] + back[1]) / 2, (front[2] + left[2]) / 2])
    x, y, z = scale * (centre - ideal.mean(axis=0)) + given.mean(axis=0)
    return float(x), float(y), float(z), scale * float(front[1] - back[1]) / 2


_DEFAULT_SPHERE = (0.0, 0.0, 0.0, 0.095)


@cache
def _template() -> dict[str, np.ndarray]:
    """Positions of the 10-05 system in the head frame, by upper-case name."""
    import mne

    # MNE 1.13 renamed it.
    renamed = "colin27_1005" in mne.channels.get_builtin_montages()
    montage = mne.channels.make_standard_montage("colin27_1005" if renamed else "standard_1005")
    info = mne.create_info(montage.ch_names, 1.0, "eeg", verbose="error").set_montage(
        montage, verbose="error"
    )
    return {channel["ch_name"].upper(): channel["loc"][:3].copy() for channel in info["chs"]}
