"""Part 1: simulated subjects, whose hand areas are known. Do explanations find them?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from eeg_agreement import (
    class_contrast,
    class_power,
    gain_correlation,
    rank_correlation,
    share,
    size_per_class,
)
from eeg_cache import cached
from eeg_decoders import METHODS, Trained, Training, labels, linear, train_network

import sciexplain as sx

if TYPE_CHECKING:
    import mne

CLASSES = ("left", "right")
BANDS = {"theta": (4.0, 8.0), "mu": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 38.0)}
TRUE_BANDS = ("mu", "beta")
PASS = (4.0, 38.0)  # Hz, as in Schirrmeister et al. (2017)
WINDOW = 0.5  # s; the true window, 0.5 to 3 s after the cue, is five of these
# gain_rho: |relevance| of a channel against the gain of the active hemisphere, mean over the two classes.
# contrast_rho: class contrast of relevance against the power by which the classes differ. Both at electrodes.
# pattern_rho: the same contrast behind the first map over channels, brought to the electrodes by patterns;
# added after a look at the first subject, whose electrodes showed nothing.
# band_share, window_share: part of |contrast| in the true bands, in the true window.
MEASURES = ("gain_rho", "contrast_rho", "pattern_rho", "band_share", "window_share", "conservation_error")


@dataclass(frozen=True)
class Settings:
    """All that the results depend on."""

    subject: int
    effect: float
    n_trials: int
    n_train: int
    n_explained: int
    networks: tuple[tuple[str, Training], ...]
    seed: int = 0
    sfreq: float = 100.0


SHALLOW, EEGNET = Training(12), Training(18, drop_prob=0.25)
FORMS: dict[bool, dict[str, Any]] = {
    True: {
        "subjects": (5,),
        "controls": (5,),
        "settings": {"n_trials": 400, "n_train": 300, "n_explained": 60},
        "networks": (("ShallowConvNet", Training(10)),),
    },
    False: {
        "subjects": tuple(range(1, 10)),
        "controls": (1, 2, 3, 4),
        "settings": {"n_trials": 600, "n_train": 400, "n_explained": 80},
        "networks": (("ShallowConvNet", SHALLOW), ("EEGNet", EEGNET)),
    },
}


def settings_of(short: bool) -> list[Settings]:
    """One entry per subject and effect, controls (no class information) last."""
    form = FORMS[short]
    found = []
    for effect, subjects in ((1.0, form["subjects"]), (0.0, form["controls"])):
        for subject in subjects:
            found.append(Settings(subject, effect, **form["settings"], networks=form["networks"]))
    return found


def run(settings: list[Settings], folder: Path) -> tuple[pd.DataFrame, dict[tuple[int, float], xr.Dataset]]:
    """Table (a row per subject, decoder and method) and maps of each subject; finished ones are reused."""
    tables, maps = [], {}
    for one in settings:
        name = f"simulated-{one.subject}-effect{one.effect:g}"
        table, found = cached(folder, name, asdict(one), __file__, lambda one=one: run_subject(one))
        tables.append(table)
        maps[one.subject, one.effect] = found
        print(f"{name}: " + accuracies(table), flush=True)
    return pd.concat(tables, ignore_index=True), maps


def accuracies(table: pd.DataFrame) -> str:
    """Decoder and accuracy, once each."""
    once = table.dropna(subset="accuracy").drop_duplicates("decoder")
    return ", ".join(f"{d} {a:.2f}" for d, a in zip(once["decoder"], once["accuracy"]))


def simulate(one: Settings) -> tuple[mne.BaseEpochs, mne.BaseEpochs, xr.Dataset]:
    """Training trials, held-out trials (a fixed split; the order of trials is random) and the truth."""
    sim = sx.eeg.simulate_motor_imagery(
        one.subject, one.n_trials, seed=one.seed, sfreq=one.sfreq, effect=one.effect
    )
    epochs = sim.epochs.copy().filter(*PASS, verbose="ERROR")
    return epochs[: one.n_train], epochs[one.n_train :], sim.truth


def run_subject(one: Settings) -> tuple[pd.DataFrame, xr.Dataset]:
    """Train, explain held-out trials that were classified correctly, compare with the truth."""
    train, test, truth = simulate(one)
    rows: list[dict[str, Any]] = []
    maps: dict[str, xr.DataArray] = {"truth": class_power(truth).transpose("channel")}
    y = labels(test, CLASSES)

    told = sx.eeg.CSPLDA(6).fit(_told(train))
    rows.append({"decoder": "CSP+LDA told", "method": "", "accuracy": told.score(_told(test))})
    csp = sx.eeg.CSPLDA(6).fit(train)
    decoders = {kind: train_network(kind, train, CLASSES, how) for kind, how in one.networks}
    decoders["CSP+LDA"] = linear(csp, CLASSES)
    for name, decoder in decoders.items():
        accuracy = float((decoder.logits(test).argmax(axis=1) == y).mean())
        chosen = test[np.flatnonzero(decoder.correct(test))[: one.n_explained]]
        for method, how in methods_for(name).items():
            measured, found = judge(decoder, chosen, how, truth)
            rows.append({"decoder": name, "method": method, "accuracy": accuracy, **measured})
            maps |= {f"{part}|{name}|{method}": value for part, value in found.items()}
    importance = csp.channel_importance()
    sizes = xr.concat([abs(importance)] * 2, xr.DataArray(list(CLASSES), dims="event", name="event"))
    rows.append(
        {
            "decoder": "CSP+LDA",
            "method": "channel importance",
            "gain_rho": gain_correlation(sizes, truth),
            "pattern_rho": rank_correlation(importance, maps["truth"]),
        }
    )
    rows.append({"decoder": "no decoder", "method": "input power", **without_decoder(test, truth)})
    rows.append({"decoder": "no decoder", "method": "truth itself", **best_possible(truth)})
    frame = pd.DataFrame(rows).reindex(columns=["decoder", "method", "accuracy", *MEASURES])
    frame.insert(0, "subject", one.subject)
    frame.insert(1, "effect", one.effect)
    return frame, _plain(maps)


def methods_for(decoder: str) -> dict[str, Any]:
    """CSP + LDA is one convolution, whose weights have both signs, and a linear head: two LRP rules."""
    if decoder != "CSP+LDA":
        return METHODS
    return {
        "LRP epsilon": sx.LRP("epsilon"),
        "LRP epsilon-plus": sx.LRP("epsilon_plus"),
        **{name: how for name, how in METHODS.items() if not name.startswith("LRP")},
    }


def judge(
    decoder: Trained, epochs: mne.BaseEpochs, method: Any, truth: xr.Dataset
) -> tuple[dict[str, float], dict[str, xr.DataArray]]:
    """Agreement of one method on one decoder, and its maps: contrast per channel, and per band and window."""
    ds = decoder.explain(epochs, method, spatial=True)
    event = ds["event"].values
    windows = sx.windows(sx.eeg.windows(ds["time"], WINDOW), along=ds["time"])
    in_time = sx.pool(ds["relevance"], windows)
    if isinstance(method, sx.Sensitivity):  # a square has no sign and no classes' difference: its mean
        gradient = decoder.explain(epochs, sx.GradientTimesInput())
        in_band = squared_spectrum(gradient).mean("epoch")
        cells = in_time.mean("epoch")
        components = spatial_relevance(gradient, decoder, squared=True).mean("epoch")
    else:
        in_band = class_contrast(sx.band_relevance(ds, BANDS), event, CLASSES)
        cells = class_contrast(in_time, event, CLASSES)
        components = class_contrast(spatial_relevance(ds, decoder), event, CLASSES)
    per_channel = cells.sum("window")
    at_patterns = per_channel.copy(data=decoder.at_patterns(components.values))
    sizes = size_per_class(in_time.sum("window"), event, CLASSES)
    measured = {
        "gain_rho": gain_correlation(sizes, truth),
        "contrast_rho": rank_correlation(per_channel, class_power(truth)),
        "pattern_rho": rank_correlation(at_patterns, class_power(truth)),
        "band_share": share(in_band, "band", TRUE_BANDS),
        "window_share": share(cells, "window", true_windows(cells)),
        "conservation_error": float(ds["conservation_error"].max()),
    }
    if isinstance(method, sx.Sensitivity):
        measured["conservation_error"] = float("nan")  # it decomposes another quantity
    maps = {
        "channel": per_channel,
        "pattern": at_patterns,
        "band": in_band.sum("channel"),
        "window": cells.sum("channel"),
    }
    return measured, maps


def spatial_relevance(ds: xr.Dataset, decoder: Trained, squared: bool = False) -> xr.DataArray:
    """Relevance (epoch, component) behind the first map F over channels, summed over time.

    A gradient g at the electrodes is F' times that at the components, so the latter is pinv(F') g: exact,
    as no other path leads from one to the other.
    """
    layer = f"relevance_{decoder.spatial}"
    if layer in ds:
        values = ds[layer].values.astype(np.float64)
    else:
        values = np.linalg.pinv(decoder.filters.T) @ ds["message"].values.astype(np.float64)
        values = values**2 if squared else values * (decoder.filters @ ds["input"].values.astype(np.float64))
    return xr.DataArray(values.sum(axis=2), dims=("epoch", "component"))


def squared_spectrum(ds: xr.Dataset) -> xr.DataArray:
    """|gradient|^2 per band: sensitivity has no message, but its sum is kept by a Fourier transform too."""
    same = ds.assign(input=ds["message"], relevance=ds["message"] ** 2)
    return sx.band_relevance(same, BANDS)


def true_windows(cells: xr.DataArray) -> list[str]:
    """Windows that lie inside 0.5 to 3 s after the cue."""
    names = [str(name) for name in cells["window"].values if str(name) != "rest"]
    starts = [float(name.split(" to ")[0]) for name in names]
    return [name for name, start in zip(names, starts) if 0.5 <= start < 3.0]


def without_decoder(epochs: mne.BaseEpochs, truth: xr.Dataset) -> dict[str, float]:
    """What a map of the input's power would reach, that knows neither decoder nor classes."""
    data = epochs.get_data(copy=False) * 1e6
    coords = {"channel": epochs.ch_names, "time": ("time", epochs.times, {"units": "s"})}
    x = xr.DataArray(data, coords, ("epoch", "channel", "time"))
    ds = xr.Dataset({"relevance": x * x, "input": x, "message": x})
    windows = sx.windows(sx.eeg.windows(ds["time"], WINDOW), along=ds["time"])
    cells = sx.pool(ds["relevance"], windows).mean("epoch")
    power = cells.sum("window")
    sizes = xr.concat([power] * 2, xr.DataArray(list(CLASSES), dims="event", name="event"))
    return {
        "gain_rho": gain_correlation(sizes, truth),
        "contrast_rho": rank_correlation(power, class_power(truth)),
        "pattern_rho": rank_correlation(power, class_power(truth)),
        "band_share": share(sx.band_relevance(ds, BANDS).mean("epoch"), "band", TRUE_BANDS),
        "window_share": share(cells, "window", true_windows(cells)),
    }


def best_possible(truth: xr.Dataset) -> dict[str, float]:
    """What the truth of `contrast_rho` reaches by `gain_rho`: it is on both sides, the active gain on one."""
    both = class_power(truth)
    sizes = xr.concat([both] * 2, xr.DataArray(list(CLASSES), dims="event", name="event"))
    return {"gain_rho": gain_correlation(sizes, truth), "contrast_rho": 1.0, "pattern_rho": 1.0}


def summary(table: pd.DataFrame, effect: float = 1.0) -> pd.DataFrame:
    """Mean and standard deviation over subjects, a row per decoder and method."""
    part = table[(table["effect"] == effect) & (table["method"].fillna("") != "")]
    grouped = part.groupby(["decoder", "method"], sort=False)[list(MEASURES)]
    mean, sd = grouped.mean(), grouped.std()
    return pd.concat({"mean": mean, "sd": sd}, axis=1).swaplevel(axis=1)[list(MEASURES)]


def chance() -> dict[str, float]:
    """Shares that an explanation spread evenly over frequency, or over time, would have."""
    low, high = PASS
    return {"band_share": (30.0 - 8.0) / (high - low), "window_share": 2.5 / 4.0}


def _told(epochs: mne.BaseEpochs) -> mne.BaseEpochs:
    """The trials cut to what the truth says: 8 to 30 Hz, 0.5 to 3 s."""
    return epochs.copy().filter(8.0, 30.0, verbose="ERROR").crop(0.5, 3.0)


def _plain(maps: dict[str, xr.DataArray]) -> xr.Dataset:
    """Bare values and dims: what belongs to which map is in its name."""
    return xr.Dataset(
        {
            name.replace("/", " "): xr.DataArray(v.values, {d: v[d].values for d in v.dims}, v.dims)
            for name, v in maps.items()
        }
    )
