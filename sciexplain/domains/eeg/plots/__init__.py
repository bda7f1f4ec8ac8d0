"""Pictures of relevance on the scalp, over time and over bands: axes in, figure out, one symmetric scale."""

from sciexplain.domains.eeg.plots._style import PlotError
from sciexplain.domains.eeg.plots.bands import plot_bands
from sciexplain.domains.eeg.plots.class_averages import plot_class_averages
from sciexplain.domains.eeg.plots.time_course import plot_time_course
from sciexplain.domains.eeg.plots.topomap import plot_topomap
from sciexplain.domains.eeg.plots.trial import plot_trial

__all__ = ["PlotError", "plot_bands", "plot_class_averages", "plot_time_course", "plot_topomap", "plot_trial"]
