import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sciexplain.relevance as rel

from .helpers import make_dataset, no_computes


def dft_matrix(n):
    """Orthonormal: F[k, t] = exp(-2 pi i k t / n) / sqrt(n)."""
    k = np.arange(n)
    return np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)


def slow_spectrum(x, c):
    """R_k = Re(X_k conj C_k) with both signs of each frequency added, from the matrix."""
    n = x.shape[-1]
    R = ((x @ dft_matrix(n).T) * (c @ dft_matrix(n).T).conj()).real
    out = np.zeros((*x.shape[:-1], n // 2 + 1))
    for k in range(n):
        out[..., min(k, n - k)] += R[..., k]
    return out


def double(ds):
    """Relevance, input and message as float64, so that sums can be compared to 1e-9."""
    x, c = ds.input.astype(np.float64), ds.message.astype(np.float64)
    return ds.assign(input=x, message=c, relevance=x * c)


@pytest.mark.parametrize("n", [2, 3, 8, 40, 41])
def test_spectrum_is_the_matrix_formula(n):
    ds = make_dataset(times=n)
    got = rel.frequency_relevance(ds)
    assert got.dims == ("epoch", "channel", "frequency")
    assert got.name == "relevance"
    np.testing.assert_allclose(got, slow_spectrum(ds.input.values, ds.message.values), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.frequency, np.arange(n // 2 + 1) * 100 / n)
    assert got.frequency.attrs["units"] == "Hz"


@pytest.mark.parametrize("n", [10, 11])
def test_nyquist_and_zero_count_once(n):
    """x = c = a cosine at frequency k has all its energy there, at the edges of the spectrum too."""
    t = np.arange(n)
    for k in range(n // 2 + 1):
        x = xr.DataArray(np.cos(2 * np.pi * k * t / n)[None], {"sample": [0], "time": t / n})
        r = rel.frequency_relevance(xr.Dataset({"relevance": x * x, "input": x, "message": x}))[0]
        energy = float((x * x).sum())
        np.testing.assert_allclose(r, np.where(np.arange(len(r)) == k, energy, 0), atol=1e-12)


def test_relevance_is_that_of_a_model_with_the_transform_in_front():
    """Build the virtual layer: gradient x coefficient at the inverse transform's input, by autograd."""
    n, rng = 12, np.random.default_rng(3)
    w = torch.tensor(rng.standard_normal((n, n)))
    x = torch.tensor(rng.standard_normal(n))

    def model(signal):
        return (torch.relu(w @ signal)).sum()

    X = torch.fft.fft(x, norm="ortho")
    re, im = X.real.clone().requires_grad_(), X.imag.clone().requires_grad_()
    model(torch.fft.ifft(torch.complex(re, im), norm="ortho").real).backward()
    virtual = (re * re.grad + im * im.grad).detach().numpy()
    leaf = x.clone().requires_grad_()
    model(leaf).backward()
    coords = {"sample": [0], "time": np.arange(n) / n}
    x_, c_ = (xr.DataArray(v.detach().numpy()[None], coords) for v in (leaf, leaf.grad))
    got = rel.frequency_relevance(xr.Dataset({"relevance": x_ * c_, "input": x_, "message": c_}))[0]
    np.testing.assert_allclose(
        got, [virtual[0], *(virtual[1:6] + virtual[:6:-1]), virtual[6]], rtol=1e-10, atol=1e-12
    )


@given(n=st.integers(2, 60), seed=st.integers(0, 10))
def test_bands_sum_to_the_relevance(n, seed):
    ds = double(make_dataset(samples=2, channels=2, times=n, seed=seed))
    got = rel.band_relevance(ds, {"low": (0, 20), "overlapping": (0, 60), "high": (None, None)})
    assert got.dims == ("epoch", "channel", "band")
    assert got.band.values.tolist() == ["low", "overlapping", "high", "rest"]
    gap = np.abs(got.sum("band") - ds.relevance.sum("time"))
    assert (gap <= 1e-9 * np.abs(ds.relevance).sum("time")).all()


def test_bands_are_half_open_and_share():
    ds = make_dataset(times=100)  # 1 Hz apart
    spectrum = rel.frequency_relevance(ds)
    got = rel.band_relevance(ds, {"mu": (8, 13), "beta": (13, 30), "both": (12, 14)})
    mu = spectrum.sel(frequency=slice(8, 11)).sum("frequency") + spectrum.sel(frequency=12) / 2
    np.testing.assert_allclose(got.sel(band="mu"), mu, rtol=1e-9, atol=1e-12)
    both = spectrum.sel(frequency=[12, 13]).sum("frequency") / 2
    np.testing.assert_allclose(got.sel(band="both"), both, rtol=1e-9, atol=1e-12)


@given(
    n=st.integers(2, 80),
    part=st.floats(0.01, 1),
    overlap=st.sampled_from([0, 0.1, 0.5, 0.6, 0.75, 0.9, 0.99]),
    seed=st.integers(0, 5),
)
def test_short_windows_conserve(n, part, overlap, seed):
    ds = double(make_dataset(samples=2, channels=2, times=n, seed=seed))
    length = max(2, round(part * n))
    got = rel.time_frequency_relevance(ds, window_seconds=length / 100, overlap=overlap)
    assert got.dims == ("epoch", "channel", "frequency", "window")
    assert got.sizes["frequency"] == length // 2 + 1
    gap = np.abs(got.sum(("frequency", "window")) - ds.relevance.sum("time"))
    assert (gap <= 1e-9 * np.abs(ds.relevance).sum("time")).all()


def test_short_windows_are_the_formula():
    """overlap 0 is a spectrum of each piece; with overlap, sum over frequency is the relevance under h^2."""
    ds = double(make_dataset(times=40))
    pieces = rel.time_frequency_relevance(ds, window_seconds=0.1, overlap=0)
    assert pieces.sizes["window"] == 4
    for m in range(4):
        x, c = (ds[name].values[..., 10 * m : 10 * m + 10] for name in ("input", "message"))
        np.testing.assert_allclose(pieces.isel(window=m), slow_spectrum(x, c), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pieces.window, -0.1 + np.array([4.5, 14.5, 24.5, 34.5]) / 100)
    assert pieces.window.attrs == {"units": "s"}

    half = rel.time_frequency_relevance(ds, window_seconds=0.1, overlap=0.5)
    hann = np.sin(np.pi * (np.arange(10) + 0.5) / 10) ** 2
    here = int(np.argmin(np.abs(half.window.values - (-0.1 + 14.5 / 100))))
    expected = (ds.relevance.values[..., 10:20] * hann).sum(-1)  # half-overlapping Hann windows sum to 1
    np.testing.assert_allclose(half.isel(window=here).sum("frequency"), expected, rtol=1e-9, atol=1e-12)


def test_a_burst_is_found_in_its_window_and_band():
    t = np.arange(400) / 200
    burst = np.sin(2 * np.pi * 20 * t) * ((t > 1.2) & (t < 1.7))
    x = xr.DataArray(burst[None], {"sample": [0], "time": t})
    ds = xr.Dataset({"relevance": x * x, "input": x, "message": x})
    found = rel.time_frequency_relevance(ds, window_seconds=0.25)[0]
    peak = found.argmax(("frequency", "window"))
    assert float(found.frequency[peak["frequency"]]) == 20
    assert 1.2 < float(found.window[peak["window"]]) < 1.7


@pytest.mark.parametrize("chunks", [{"epoch": 1}, {"time": 7}, {"epoch": 3, "channel": 2, "time": 11}])
def test_chunks_change_nothing_and_nothing_is_computed_early(chunks):
    ds = make_dataset()
    lazy = ds.chunk(chunks)
    for function in (
        rel.frequency_relevance,
        lambda d: rel.band_relevance(d, {"mu": (8, 13)}),
        lambda d: rel.time_frequency_relevance(d, window_seconds=0.1, overlap=0.7),
    ):
        with no_computes():
            result = function(lazy)
            assert result.chunks is not None
        xr.testing.assert_allclose(result.compute(), function(ds), rtol=1e-12)


def test_the_dim_may_stand_anywhere_and_have_another_name():
    ds = make_dataset().transpose("epoch", "time", "channel").rename(time="latency")
    got = rel.band_relevance(ds, {"mu": (8, 13)}, dim="latency")
    assert got.dims == ("epoch", "band", "channel")
    xr.testing.assert_allclose(
        got.transpose("epoch", "channel", "band"), rel.band_relevance(make_dataset(), {"mu": (8, 13)})
    )


@pytest.mark.parametrize(
    "times",
    [
        xr.DataArray(np.arange(40) * 10.0 - 100, dims="time", attrs={"units": "ms"}),
        xr.DataArray((np.arange(40) * 10).astype("timedelta64[ms]"), dims="time"),
        xr.DataArray(
            np.datetime64("2020-01-01", "ns") + np.arange(40) * np.timedelta64(10, "ms"), dims="time"
        ),
        xr.DataArray((np.arange(40) / 100).astype(np.float32), dims="time"),
    ],
)
def test_hertz_whatever_the_unit_of_time(times):
    got = rel.frequency_relevance(make_dataset().assign_coords(time=times))
    np.testing.assert_allclose(got.frequency, np.arange(21) * 2.5, rtol=1e-6)


def test_several_inputs_are_chosen_by_name():
    ds = make_dataset()
    two = ds.rename({role: f"{role}_eeg" for role in ("relevance", "input", "message")})
    xr.testing.assert_equal(rel.frequency_relevance(two, name="eeg"), rel.frequency_relevance(ds))
    with pytest.raises(rel.SpectrumError, match=r"choose one of \['eeg'\]"):
        rel.frequency_relevance(two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("message"), r"no `message` \(method: lrp\).*directly.*ZBox.*Explain again"),
        (lambda ds: ds.drop_vars(["input", "message"]), "no `input` and no `message`"),
        (lambda ds: ds.drop_vars("relevance"), "no `relevance` in the dataset"),
        (lambda ds: ds.relevance, "whole dataset.*got DataArray"),
        (lambda ds: ds.drop_vars("time"), r"'time' has no coordinate.*assign_coords\(time="),
        (lambda ds: ds.rename(time="t"), "no dim 'time'"),
        (lambda ds: ds.isel(time=[0, 1, 2, 4]), "not evenly sampled.*sample 2 should be at"),
        (lambda ds: ds.isel(time=slice(None, None, -1)), "not evenly sampled and rising"),
        (lambda ds: ds.isel(time=[0]), "1 sample"),
        (lambda ds: ds.assign_coords(time=[f"t{i}" for i in range(60)]), "expected times in seconds"),
        (lambda ds: ds.assign_coords(time=ds.time.assign_attrs(units="m")), "has the unit 'm'"),
        (lambda ds: ds.assign(relevance=ds.relevance * 2), r"not input \* message.*average after"),
        (lambda ds: ds.assign(message=ds.message.where(ds.time > 0)), r"not input \* message.*NaN"),
        (lambda ds: ds.rename(channel="band"), "has a 'band' already"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        rel.frequency_relevance,
        rel.time_frequency_relevance,
        lambda ds: rel.band_relevance(ds, {"mu": (8, 13)}),
    ],
)
def test_datasets_without_a_spectrum_say_why(function, change, message):
    with pytest.raises(rel.SpectrumError, match=message):
        function(change(make_dataset(times=60)))


def test_a_band_without_frequencies_is_refused():
    with pytest.raises(
        rel.RegionError, match=r"'delta' \(1, 2\) contains none of the 21 elements of 'frequency'"
    ):
        rel.band_relevance(make_dataset(), {"delta": (1, 2)})


@pytest.mark.parametrize(
    ("window", "overlap", "message"),
    [
        (1.0, 0.5, r"100 samples at 100 Hz; expected 2 to 40 \(0.02 to 0.4 s\)"),
        (0.01, 0.5, "1 samples"),
        (0.1, 1.0, "below 1, got 1.0"),
        (0.1, -0.1, "at least 0"),
    ],
)
def test_impossible_windows_are_refused(window, overlap, message):
    with pytest.raises(rel.SpectrumError, match=message):
        rel.time_frequency_relevance(make_dataset(), window_seconds=window, overlap=overlap)
