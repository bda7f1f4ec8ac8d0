import json

import mne
import numpy as np
import pytest

from sciexplain.domains.eeg.spec import EpochsError, EpochsMismatchError, InputSpec

from .eeg_fixtures import make_epochs


@pytest.fixture
def spec():
    return InputSpec.from_epochs(make_epochs(eog=True), classes=("left", "right"))


def test_from_epochs_describes_the_picked_channels(spec):
    assert spec == InputSpec(
        channels=("Fz", "C3", "Cz", "C4"),
        sfreq=100.0,
        n_times=50,
        tmin=-0.1,
        unit="uV",
        scale=1e6,
        classes=("left", "right"),
        highpass=1.0,
        lowpass=40.0,
        reference="as recorded",
    )
    spec.check(make_epochs())
    with pytest.raises(AttributeError):
        spec.sfreq = 1.0


def test_json_round_trip_is_exact(spec):
    odd = InputSpec(("A", "B"), sfreq=1 / 3, n_times=7, tmin=-0.1 - 1e-17, scale=2.0)
    assert InputSpec.from_json(spec.to_json()) == spec
    assert InputSpec.from_json(odd.to_json()) == odd
    assert odd.unit == "V / 2"


def test_json_names_unknown_and_missing_fields(spec):
    text = json.dumps({"channels": ["C3"], "sfreq": 1.0, "colour": "red"})
    with pytest.raises(
        EpochsError, match=r"unknown fields \['colour'\], missing fields \['n_times', 'tmin'\]"
    ):
        InputSpec.from_json(text)
    with pytest.raises(EpochsError, match="expected a JSON object, got list"):
        InputSpec.from_json("[]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ("C3", "C3")}, r"\['C3'\] occur more than once"),
        ({"classes": ("a", "a")}, r"\['a'\] occur more than once"),
        ({"channels": ()}, "at least one channel"),
        ({"n_times": 0}, "n_times=0"),
        ({"sfreq": 0.0}, "sfreq=0.0"),
        ({"unit": "mV"}, "scale 1e[+]06 turns volt into uV, not mV"),
    ],
)
def test_impossible_specifications(change, message):
    fields = {"channels": ("C3",), "sfreq": 1.0, "n_times": 1, "tmin": 0.0} | change
    with pytest.raises(EpochsError, match=message):
        InputSpec(**fields)


def without(epochs, name):
    return epochs.drop_channels([name], on_missing="raise")


def with_nan(epochs):
    epochs._data[[1, 4], 0, 3] = [np.nan, np.inf]
    return epochs


def with_bad(epochs):
    epochs.info["bads"] = ["Cz"]
    return epochs


def with_reference(epochs):
    return epochs.set_eeg_reference(["Fz"], verbose="error")


def with_projected_reference(epochs):
    return epochs.set_eeg_reference("average", projection=True, verbose="error").apply_proj(verbose="error")


def with_highpass(epochs):
    with epochs.info._unlock():
        epochs.info["highpass"] = 4.0
    return epochs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: without(e, "C3"), "channels missing: C3"),
        (
            lambda e: e.rename_channels({"C3": "C9"}),
            "channels missing: C3\n  channels the model does not know: C9",
        ),
        (lambda e: e.reorder_channels(["Fz", "C4", "Cz", "C3"]), "channel 1 is C4, in training it was C3"),
        (lambda e: e.resample(50.0, verbose="error"), "sampling rate 50 Hz, in training 100 Hz"),
        (
            lambda e: e.crop(0.0, None),
            r"40 samples per epoch \(0.400 s\), in training 50 \(0.500 s\)",
        ),
        (lambda e: e.crop(0.0, None), "epochs start at 0 s, in training at -0.1 s"),
        (with_nan, "NaN or infinite samples in 2 of 6 epochs: 1, 4"),
        (with_bad, "bad channels among those the model reads: Cz"),
        (with_reference, "reference 'custom', in training 'as recorded'"),
        (with_projected_reference, "reference 'average', in training 'as recorded'"),
        (with_highpass, "highpass 4 Hz, in training 1 Hz"),
    ],
)
def test_each_difference_is_named(spec, change, message):
    with pytest.raises(EpochsMismatchError, match=message):
        spec.check(change(make_epochs()))


def test_all_differences_are_listed_at_once(spec):
    with pytest.raises(EpochsMismatchError) as caught:
        spec.check(without(make_epochs(), "C3").resample(50.0, verbose="error"))
    starts = [line.split()[0] for line in str(caught.value).splitlines()]
    assert starts == ["these", "channels", "sampling", "25", "lowpass"]


def test_what_is_none_is_not_checked():
    loose = InputSpec(("Fz", "C3", "Cz", "C4"), sfreq=100.0, n_times=50, tmin=-0.1)
    loose.check(with_reference(with_highpass(make_epochs())))


def test_check_leaves_the_epochs_alone(spec):
    raw = mne.io.RawArray(np.zeros((4, 1000)), make_epochs().info, verbose="error")
    lazy = mne.Epochs(raw, [[100, 0, 1], [500, 0, 2]], tmin=-0.1, tmax=0.39, baseline=None, verbose="error")
    spec.check(lazy)
    assert not lazy.preload
    with pytest.raises(TypeError, match=r"expected mne.Epochs, got .*RawArray"):
        spec.check(raw)
