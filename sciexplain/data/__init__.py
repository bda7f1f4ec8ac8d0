"""Data sets by manifest: find, fetch, verify, cache.

Each data set has a TOML manifest (`data_manifests/`) with its licence, citation, what one sample is, and
for each file a SHA-256 and an ordered list of sources. Whatever the source, the checksum decides.
"""

from .catalogue import list_datasets, manifest, select
from .errors import ChecksumError, DataError, ManifestError, SourcesError, UnknownDataError
from .retrieval import Check, available, fetch, verify
from .schema import DataFile, Manifest, Mirror, Package, Source, Url

__all__ = [
    "Check",
    "ChecksumError",
    "DataError",
    "DataFile",
    "Manifest",
    "ManifestError",
    "Mirror",
    "Package",
    "Source",
    "SourcesError",
    "UnknownDataError",
    "Url",
    "available",
    "fetch",
    "list_datasets",
    "manifest",
    "select",
    "verify",
]
