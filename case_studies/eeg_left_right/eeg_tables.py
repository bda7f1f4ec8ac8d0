"""Tables of the study: means over subjects, and what was expected against what came out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from eeg_simulated import MEASURES, chance

NETWORKS = ("ShallowConvNet", "EEGNet")
HOPED = "LRP epsilon-plus"  # the default composite


def with_linear_correlation(
    table: pd.DataFrame, maps: Mapping[tuple[int, float], xr.Dataset]
) -> pd.DataFrame:
    """Add `contrast_r`, Pearson's correlation of the contrast map at the electrodes with the truth.

    Not planned: added when pictures showed peaks over a hand area where `contrast_rho` was near zero. Ranks
    weigh the twenty electrodes that carry little as much as the two that carry nearly all.
    """
    found = []
    for row in table.itertuples():
        known = maps[row.subject, row.effect]
        name = f"channel|{row.decoder}|{row.method}"
        found.append(float(np.corrcoef(known[name], known["truth"])[0, 1]) if name in known else np.nan)
    return table.assign(contrast_r=found)


def summary(table: pd.DataFrame, effect: float = 1.0) -> pd.DataFrame:
    """Mean ± standard deviation over subjects as text, a row per decoder and method."""
    part = table[(table["effect"] == effect) & (table["method"].fillna("") != "")]
    columns = [name for name in (*MEASURES[:3], "contrast_r", *MEASURES[3:]) if name in part]
    grouped = part.groupby(["decoder", "method"], sort=False)[columns]
    mean, sd = grouped.mean(), grouped.std()
    return pd.DataFrame(
        {name: [_text(m, s, name) for m, s in zip(mean[name], sd[name])] for name in columns},
        index=mean.index,
    )


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Held-out accuracy, a row per decoder: mean, SD, and each subject."""
    part = table.dropna(subset="accuracy").drop_duplicates(["subject", "effect", "decoder"])
    wide = part.pivot(index=["effect", "decoder"], columns="subject", values="accuracy")
    wide.insert(0, "mean", wide.mean(axis=1))
    wide.insert(1, "sd", wide.drop(columns="mean").std(axis=1))
    return wide.sort_index(ascending=[False, True]).round(3)


def expectations(table: pd.DataFrame) -> pd.DataFrame:
    """What we would have called success, written down before the results of 9 subjects, and what came out."""
    informed, control = table[table["effect"] == 1], table[table["effect"] == 0]
    rows = []

    def expect(text: str, value: float, relation: str, threshold: float) -> None:
        met = value > threshold if relation == ">" else value < threshold
        rows.append((text, round(value, 3), f"{relation} {threshold:.3g}", "yes" if met else "NO"))

    present = [name for name in NETWORKS if (informed["decoder"] == name).any()]
    power = informed[informed["method"] == "input power"]
    for name in present:
        mine, theirs = of_hoped(informed, name), of_hoped(control, name)
        expect(f"{name}: mean accuracy", of_hoped(informed, name)["accuracy"].mean(), ">", 0.6)
        expect(f"{name}, {HOPED}: rank correlation at electrodes", mine["contrast_rho"].mean(), ">", 0.5)
        for measure, words in (
            ("contrast_rho", "rank correlation at electrodes above the control"),
            ("pattern_rho", "rank correlation through patterns above the control"),
            ("band_share", "share of the true bands above the control"),
            ("window_share", "share of the true window above the control"),
        ):
            expect(f"{name}, {HOPED}: {words}", mine[measure].mean(), ">", theirs[measure].mean())
        expect(
            f"{name}, {HOPED}: share of the true bands above that of power",
            mine["band_share"].mean(), ">", power["band_share"].mean(),
        )  # fmt: skip
        expect(
            f"{name}, {HOPED}: share of the true window above its length",
            mine["window_share"].mean(), ">", chance()["window_share"],
        )  # fmt: skip
        expect(
            f"{name}, {HOPED}: rank correlation at electrodes above that of input power",
            mine["contrast_rho"].mean(), ">", power["contrast_rho"].mean(),
        )  # fmt: skip
    lrp = informed[informed["method"].fillna("").str.startswith("LRP")]
    expect("LRP: largest conservation error", lrp["conservation_error"].max(), "<", 1e-5)
    columns = ["expected", "measured", "threshold", "met"]
    return pd.DataFrame(rows, columns=columns)


def of_hoped(table: pd.DataFrame, decoder: str) -> pd.DataFrame:
    """Rows of one decoder under the default composite."""
    return table[(table["decoder"] == decoder) & (table["method"] == HOPED)]


def _text(mean: float, sd: float, name: str) -> str:
    if np.isnan(mean):
        return ""
    form = (lambda value: f"{value:.0e}") if name == "conservation_error" else (lambda value: f"{value:.2f}")
    return form(mean) if np.isnan(sd) else f"{form(mean)} ± {form(sd)}"


def markdown(frame: pd.DataFrame) -> str:
    """A table for a README; the index becomes the first columns."""
    flat = frame.reset_index() if not isinstance(frame.index, pd.RangeIndex) else frame
    lines = [list(map(str, flat.columns)), ["---"] * flat.shape[1]]
    lines += [["" if pd.isna(value) else str(value) for value in row] for row in flat.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
