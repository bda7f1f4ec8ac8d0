"""Relevance as labelled data: schema, provenance, files, regions, pooling, frequencies, statistics."""

from .codec import StorageError
from .pooling import pool
from .provenance import history, stamp
from .regions import RegionError, bands, check_regions, compose, regions, windows
from .schema import SchemaError, relevance_dataset, validate
from .spectrum import SpectrumError, band_relevance, frequency_relevance, time_frequency_relevance
from .statistics import class_means, segment_sum
from .storage import load, save

__all__ = [
    "RegionError",
    "SchemaError",
    "SpectrumError",
    "StorageError",
    "band_relevance",
    "bands",
    "check_regions",
    "class_means",
    "compose",
    "frequency_relevance",
    "history",
    "load",
    "pool",
    "regions",
    "relevance_dataset",
    "save",
    "segment_sum",
    "stamp",
    "time_frequency_relevance",
    "validate",
    "windows",
]
