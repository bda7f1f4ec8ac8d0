"""The study end to end, as small as it gets: one simulated subject and its control."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr


def settings():
    from eeg_decoders import Training
    from eeg_simulated import Settings

    network = (("ShallowConvNet", Training(1)),)
    return [Settings(1, effect, 40, 30, 6, network) for effect in (1.0, 0.0)]


@pytest.mark.slow
def test_a_small_run_writes_its_page_and_is_resumed(tmp_path, monkeypatch):
    import eeg_simulated
    import study

    page = study.main(short=True, output=tmp_path, settings=settings(), recordings=False)
    assert "Simulated subjects" in page.read_text("utf-8")
    table = pd.read_csv(tmp_path / "simulated.csv")
    assert set(table["effect"]) == {0.0, 1.0}
    lrp = table[table["method"].fillna("").str.startswith("LRP")]
    assert len(lrp) == 2 * (4 + 2)  # effects x (composites of the network, of CSP + LDA)
    assert (lrp["conservation_error"] < 1e-5).all()
    for share in ("band_share", "window_share"):
        assert table[share].dropna().between(0, 1).all()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]

    def refuse(one):
        raise AssertionError("computed again")

    monkeypatch.setattr(eeg_simulated, "run_subject", refuse)
    again, _ = study.simulate(tmp_path, True, settings())
    pd.testing.assert_frame_equal(again.reset_index(drop=True), table)


def test_other_settings_are_another_result(tmp_path):
    from eeg_cache import cached

    made = []

    def make():
        made.append(1)
        return pd.DataFrame({"a": [len(made)]}), xr.Dataset({"b": ((), 1.0)})

    for settings_, want in (({"n": 1}, 1), ({"n": 1}, 1), ({"n": 2}, 2)):
        table, maps = cached(tmp_path, "x", settings_, "eeg_simulated.py", make)
        assert table["a"].item() == want
        assert maps["b"].item() == 1.0


def test_nothing_is_left_of_a_failed_write(tmp_path):
    from eeg_cache import replace

    def half(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(tmp_path / "a.csv", half)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_recordings_are_named(tmp_path, monkeypatch):
    import eeg_recorded

    import sciexplain as sx

    def unreachable(*args, **kwargs):
        raise sx.data.DataError("no mirror, no network")

    monkeypatch.setattr(sx.eeg, "key_press", unreachable)
    tasks = (eeg_recorded.Task(eeg_recorded.KEY_PRESS, ()),)
    table, maps, skipped = eeg_recorded.run(tasks, tmp_path)
    assert table.empty
    assert maps == {}
    assert skipped == {eeg_recorded.KEY_PRESS: "no mirror, no network"}


def test_true_windows_and_bands_are_those_of_the_simulation():
    import eeg_simulated as simulated

    from sciexplain.domains.eeg import simulation

    names = ["-0.5 to 0 s", "0 to 0.5 s", "0.5 to 1 s", "2.5 to 3 s", "3 to 3.5 s", "rest"]
    cells = xr.DataArray(np.zeros(6), {"window": names}, ("window",))
    assert simulated.true_windows(cells) == ["0.5 to 1 s", "2.5 to 3 s"]
    assert simulation.WINDOW == (0.5, 3.0)
    assert {name: simulated.BANDS[name] for name in simulated.TRUE_BANDS} == simulation.BANDS
