"""Case studies: their measures, and a small run of each."""
