"""Where and when for each class, in one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciexplain.domains.eeg.plots import _style as style
from sciexplain.domains.eeg.plots.time_course import plot_time_course
from sciexplain.domains.eeg.plots.topomap import plot_topomap

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def plot_class_averages(
    ds: xr.Dataset | xr.DataArray,
    by: str = "target",
    axes: Any = None,
    *,
    limit: float | None = None,
    width: float | None = 0.1,
    names: bool = False,
    title: str | None = None,
    cmap: str = style.CMAP,
) -> Figure:
    """Topography of each class above their time courses with the uncertainty across trials.

    Parameters
    ----------
    ds : Dataset of `sx.eeg.explain`, or DataArray (epoch, channel, time)
    by : coordinate of the epochs that holds the class
    axes : one per class and one more for the time course
    limit, names, cmap : as in `plot_topomap`
    width : as in `plot_time_course`
    title

    Raises
    ------
    PlotError
        Dims or axes do not fit.
    """
    import matplotlib.pyplot as plt

    array = style.relevance_of(ds, by)
    style.require(array, ["epoch", "channel", "time"], "the picture of class averages")
    classes = len(style.groups(array, by))
    if axes is None:
        figure = plt.figure(figsize=(max(6.2, 2.3 * classes + 1.1), 5.4), layout="constrained")
        grid = figure.add_gridspec(2, classes, height_ratios=[1.15, 1.0])
        maps = [figure.add_subplot(grid[0, i]) for i in range(classes)]
        course = figure.add_subplot(grid[1, :])
    else:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) != classes + 1:
            raise style.PlotError(f"{classes} classes need {classes + 1} axes, {len(given)} given")
        figure, maps, course = given[0].figure, given[:-1], given[-1]
    plot_topomap(array, by, maps, limit=limit, names=names, cmap=cmap)
    plot_time_course(array, by, course, width=width)
    heading = style.heading(title, array)
    if heading and axes is None:
        figure.suptitle(heading, fontsize=11)
    return figure
