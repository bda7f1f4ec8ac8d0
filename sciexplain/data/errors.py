"""What can go wrong between a manifest and a file on disk."""

from __future__ import annotations

__all__ = ["ChecksumError", "DataError", "ManifestError", "SourcesError", "UnknownDataError"]


class DataError(ValueError):
    """Base of every error of `sciexplain.data`."""


class ManifestError(DataError):
    """A manifest is not well formed; the message names the file and the field."""


class UnknownDataError(DataError):
    """No data set, or no file of a data set, has this name."""


class ChecksumError(DataError):
    """The bytes that a source delivered are not the ones that the manifest promises."""


class SourcesError(DataError):
    """None of the sources of a file worked; the message lists each with its reason."""
