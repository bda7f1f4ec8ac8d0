"""Of all tests, those in docstrings too."""

import gc


def pytest_collection_finish() -> None:
    """Keep what thousands of collected tests consist of out of every later collection of garbage."""
    gc.collect()
    gc.freeze()
