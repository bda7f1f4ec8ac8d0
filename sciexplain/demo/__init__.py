"""The demo, `python -m sciexplain.demo`: EEG decoders explained, as an HTML report and netCDF files."""
