"""Measures of agreement on cases whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

CHANNELS = ["C3", "Cz", "C4", "O1"]


def over_channels(values, **others):
    return xr.DataArray(values, {"channel": CHANNELS}, ("channel",), **others)


def truth(gain_left, gain_right, loss):
    """One band of unit moment; `loss` (event, hemisphere)."""
    return xr.Dataset(
        {
            "gain": (("hemisphere", "channel"), [gain_left, gain_right]),
            "active": (("event", "hemisphere"), [[False, True], [True, False]]),
            "desynchronisation": (("event", "hemisphere", "band"), np.asarray(loss)[:, :, None]),
            "moment": (("hemisphere", "band"), [[1.0], [1.0]]),
        },
        {"hemisphere": ["left", "right"], "channel": CHANNELS, "event": ["left", "right"], "band": ["mu"]},
    )


def test_contrast_removes_what_all_trials_share():
    from eeg_agreement import class_contrast

    rng = np.random.default_rng(0)
    event = np.array(["left", "right"] * 5)
    signal = np.where(event == "right", 1.0, -1.0)[:, None] * np.array([2.0, 0.0, -3.0, 0.0])
    offset = rng.normal(size=4) * 100
    got = class_contrast(xr.DataArray(signal + offset, dims=("epoch", "channel")), event, ["left", "right"])
    np.testing.assert_allclose(got, [4.0, 0.0, -6.0, 0.0], atol=1e-12)


def test_contrast_refuses_a_class_without_trials():
    from eeg_agreement import class_contrast

    with pytest.raises(ValueError, match="no trial of class 'right'"):
        class_contrast(
            xr.DataArray(np.ones((2, 4)), dims=("epoch", "channel")), ["left"] * 2, ["left", "right"]
        )


def test_size_does_not_cancel():
    from eeg_agreement import size_per_class

    r = xr.DataArray([[1.0], [-1.0], [4.0]], dims=("epoch", "channel"))
    got = size_per_class(r, ["left", "left", "right"], ["left", "right"])
    assert got.sel(event="left").item() == 1.0
    assert got.sel(event="right").item() == 4.0


def test_rank_correlation_is_by_name_and_by_rank():
    from eeg_agreement import rank_correlation

    known = over_channels([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(np.exp(known), known) == pytest.approx(1.0)
    assert rank_correlation(-known, known) == pytest.approx(-1.0)
    assert rank_correlation(known.isel(channel=[2, 0, 3, 1]), known) == pytest.approx(1.0)
    assert np.isnan(rank_correlation(over_channels([5.0] * 4), known))
    # 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 0, 1, -1
    assert rank_correlation(over_channels([1.0, 2.0, 4.0, 3.0]), known) == pytest.approx(1 - 12 / 60)


def test_rank_correlation_refuses_other_channels():
    from eeg_agreement import rank_correlation

    known = over_channels([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="O1"):
        rank_correlation(known.isel(channel=slice(3)), known)


def test_share_counts_both_signs():
    from eeg_agreement import share

    r = xr.DataArray([[1.0, -2.0], [-3.0, 4.0]], {"band": ["mu", "rest"]}, ("channel", "band"))
    assert share(r, "band", ["mu"]) == pytest.approx(4 / 10)
    assert np.isnan(share(0 * r, "band", ["mu"]))
    with pytest.raises(KeyError):
        share(r, "band", ["beta"])


def test_gain_is_that_of_the_hemisphere_opposite_to_the_hand():
    from eeg_agreement import active_gain, gain_correlation

    known = truth([-4.0, 1.0, 0.5, 2.0], [0.5, 1.0, 4.0, 2.0], [[0.0, 0.5], [0.5, 0.0]])
    np.testing.assert_allclose(active_gain(known, "left"), [0.5, 1.0, 4.0, 2.0])
    np.testing.assert_allclose(active_gain(known, "right"), [4.0, 1.0, 0.5, 2.0])
    right_way = xr.concat([active_gain(known, e) for e in ("left", "right")], known["event"])
    assert gain_correlation(right_way, known) == pytest.approx(1.0)
    swapped = right_way.assign_coords(event=["right", "left"])
    assert gain_correlation(swapped, known) < 0


def test_class_power_weighs_hemispheres_by_what_changes():
    from eeg_agreement import class_power

    gains = [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]
    only_right = truth(*gains, [[0.0, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(class_power(only_right), [0.0, 0.0, 4 * 0.75, 0.0])
    nothing = truth(*gains, [[0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(class_power(nothing), [1.0, 0.0, 4.0, 0.0])


def test_patterns_keep_the_sum_and_find_the_source():
    from eeg_decoders import Trained, haufe

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 4))
    covariance = mixing @ mixing.T
    filters = np.linalg.inv(mixing)
    np.testing.assert_allclose(haufe(filters, covariance), mixing.T, atol=1e-9)
    decoder = Trained(None, 1.0, ("left", "right"), "whiten", filters, haufe(filters, covariance))
    r = rng.normal(size=(5, 4))
    np.testing.assert_allclose(decoder.at_patterns(r).sum(axis=1), r.sum(axis=1), atol=1e-12)


def test_whitening_makes_channels_alike():
    import torch
    from eeg_decoders import Whitened

    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 4)) @ rng.normal(size=(4, 5000))
    module = Whitened(np.cov(x), torch.nn.Identity(), 1e-9)
    with torch.no_grad():
        white = module(torch.tensor(x[None], dtype=torch.float32))[0].numpy()
    np.testing.assert_allclose(np.cov(white), np.eye(4), atol=1e-3)


@pytest.mark.parametrize(("right", "of", "p"), [(2, 2, 0.25), (0, 3, 1.0), (3, 4, 5 / 16)])
def test_binomial_p_counts_outcomes(right, of, p):
    from eeg_recorded import binomial_p

    assert binomial_p(right, of) == pytest.approx(p)


def test_eye_shares():
    from eeg_recorded import eye_shares

    names = ["Fp1", "C3", "C4", "O1"]
    r = xr.DataArray(
        [[1.0, -1.0, 1.0, 1.0], [-2.0, 1.0, -1.0, 0.0]], {"channel": names}, ("epoch", "channel")
    )
    found = eye_shares(r, abs(r))
    assert found["eyes"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found["eyes_low"] <= found["eyes"] <= found["eyes_high"]
    assert found["eyes_channels"] == 1 / 4
    assert found["eyes_power"] == pytest.approx(3 / 8)
    assert np.isnan(eye_shares(r.isel(channel=[1, 2, 3]), abs(r))["eyes"])
