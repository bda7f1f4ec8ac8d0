"""Figures of relevance: heatmaps, grids of methods, overlays, regions; axes in, figure out, scales shared."""

from sciexplain.domains.images.plots.heatmaps import plot_grid, plot_heatmaps
from sciexplain.domains.images.plots.overlay import plot_overlay, plot_regions

__all__ = ["plot_grid", "plot_heatmaps", "plot_overlay", "plot_regions"]
