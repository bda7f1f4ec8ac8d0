import json
import subprocess
import sys

import mne
import numpy as np
import pytest
import torch

import sciexplain as sx
from sciexplain import eeg
from sciexplain.domains.eeg.spec import EpochsError, EpochsMismatchError, InputSpec

from .eeg_fixtures import Convolutional, Linear, make_epochs


def explained(model=None, epochs=None, **options):
    options = {"method": sx.LRP("epsilon"), "progress": False} | options
    return eeg.explain(
        Linear() if model is None else model, make_epochs() if epochs is None else epochs, **options
    )


def test_relevance_of_a_linear_model_is_weight_times_microvolt():
    model, epochs = Linear(), make_epochs()
    ds = explained(model, epochs, target=1, batch_size=4)
    x = epochs.get_data(copy=True) * 1e6
    want = x * model.weight[1].detach().numpy().reshape(4, 50)
    np.testing.assert_allclose(ds.relevance.values, want, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ds.score.values, want.sum((1, 2)), rtol=1e-10)
    np.testing.assert_array_equal(ds.input.values, x)
    sx.validate(ds)


def test_names_seconds_positions_events_and_metadata_are_on_it():
    epochs = make_epochs(eog=True, description="simulated noise")
    ds = explained(epochs=epochs, classes=("left", "right"))
    assert ds.relevance.dims == ("epoch", "channel", "time")
    assert ds.channel.values.tolist() == ["Fz", "C3", "Cz", "C4"]
    assert ds.channel_type.values.tolist() == ["eeg"] * 4
    np.testing.assert_array_equal(ds.time.values, epochs.times)
    place = np.stack([ds[f"channel_{axis}"].values for axis in "xyz"], axis=1)
    np.testing.assert_array_equal(place, [ch["loc"][:3] for ch in epochs.info["chs"][:4]])
    assert ds.event.values.tolist() == ["left", "right"] * 3
    assert ds.event_sample.values.tolist() == epochs.events[:, 0].tolist()
    assert ds.run.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert ds.who.values.tolist() == ["S0", "S1"] * 3
    assert set(ds.target.values.tolist()) <= {"left", "right"}
    assert ds.output_label.values.tolist() == ["left", "right"]
    assert ds.attrs["domain"] == "eeg"
    for attrs in (ds.attrs, ds.relevance.attrs):
        assert (attrs["eeg_unit"], attrs["eeg_scale"], attrs["simulated"]) == ("uV", 1e6, 1)
        assert json.loads(attrs["eeg_info"])["sfreq"] == 100.0
    assert (ds.relevance.attrs["units"], ds.input.attrs["units"]) == ("logit", "uV")


def test_unit_of_relevance_follows_what_was_explained():
    assert explained(output="as_is").relevance.attrs["units"] == "output"
    assert explained(method="sensitivity").relevance.attrs["units"] == "logit² / uV²"
    assert "simulated" not in explained().attrs


def test_survives_a_file(tmp_path):
    names = [f"E{i}" for i in range(256)]  # as many positions as caps have: the attribute passes 64 kB
    info = mne.create_info(names, 100.0, "eeg", verbose="error")
    for i, channel in enumerate(info["chs"]):
        channel["loc"][:6] = np.sin(i + np.arange(6)) / 10
    epochs = mne.EpochsArray(np.random.default_rng(0).standard_normal((2, 256, 10)), info, verbose="error")
    ds = explained(Linear(256, 10), epochs, classes=("left", "right"))
    assert len(ds.attrs["eeg_info"]) > 2**15
    sx.save(ds, tmp_path / "relevance.nc")
    back = sx.load(tmp_path / "relevance.nc")
    assert back.attrs == ds.attrs
    np.testing.assert_array_equal(back.relevance.values, ds.relevance.values)
    np.testing.assert_array_equal(eeg.to_epochs(back).get_data(), eeg.to_epochs(ds).get_data())


def test_scale_is_stated_and_used():
    model, epochs = Linear(), make_epochs()
    options = {"target": 0, "method": "gradient_times_input"}  # no epsilon, which is not small against volts
    volt, micro = explained(model, epochs, scale=1.0, **options), explained(model, epochs, **options)
    np.testing.assert_allclose(micro.relevance.values, volt.relevance.values * 1e6, rtol=1e-10)
    assert volt.attrs["eeg_unit"] == "V"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_computes_in_the_models_precision(dtype):
    ds = explained(Linear(dtype=dtype))
    assert ds.relevance.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("right", ["right"] * 6),
        (0, ["left"] * 6),
        ("event", ["left", "right"] * 3),
        (["right", "left", "left", "left", "left", "left"], ["right"] + ["left"] * 5),
        (np.array(["left"] * 6), ["left"] * 6),
        ([1, 0, 0, 0, 0, 1], ["right", "left", "left", "left", "left", "right"]),
    ],
)
def test_targets_by_name_index_and_event(target, want):
    model = Linear()
    ds = explained(model, target=target, classes=("left", "right"), batch_size=4)
    assert ds.target.values.tolist() == want
    outputs = model(torch.from_numpy(ds.input.values)).detach().numpy()
    np.testing.assert_allclose(
        ds.score.values, outputs[np.arange(6), [int(w == "right") for w in want]], rtol=1e-10
    )


def test_contrast_by_class_name():
    ds = explained(target=sx.Contrast("left", "right"), classes=("left", "right"))
    separate = [explained(target=name, classes=("left", "right")).score for name in ("left", "right")]
    np.testing.assert_allclose(ds.score, separate[0] - separate[1], rtol=1e-10)


def test_event_tags_name_the_class():
    epochs = make_epochs()
    epochs.event_id = {"run1/left": 1, "run1/right": 2}
    ds = explained(epochs=epochs, target="event", classes=("left", "right"))
    assert ds.target.values.tolist() == ["left", "right"] * 3
    assert ds.event.values.tolist() == ["run1/left", "run1/right"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "left"}, "names of the outputs are not known"),
        ({"target": "lefd", "classes": ("left", "right")}, "there are left, right; did you mean 'left'"),
        ({"target": ["left"], "classes": ("left", "right")}, "1 names for 6 epochs"),
        ({"target": "event", "classes": ("hand", "foot")}, "event 'left' names 0 of the classes"),
        ({"target": "event"}, r"none \(give classes=...\)"),
        ({"classes": ("a", "b", "c")}, r"3 class names \(a, b, c\) for a model with 2 outputs"),
        ({"classes": ("a", "a")}, "expected different names"),
        ({"classes": "ab"}, "expected different names"),
        ({"picks": "mag"}, r"picks='mag' selects no such channels; there are 4 eeg: Fz, C3, Cz, C4"),
        ({"picks": ["C3", "C99"]}, "selects no such channels"),
        ({"on_bad": "drop"}, "expected 'raise' or 'ignore'"),
        ({"input_layout": "nchw"}, "expected 'nct'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(EpochsError, match=message):
        explained(**options)


def test_nothing_runs_before_the_checks():
    def never(*_):
        raise AssertionError("the model ran")

    model = Linear()
    model.register_forward_hook(never)
    empty = make_epochs()[[]]
    nan = make_epochs()
    nan._data[2, 1, 3] = np.nan
    bad = make_epochs()
    bad.info["bads"] = ["Cz"]
    for epochs, message in (
        (empty, "there are no epochs"),
        (nan, "NaN or infinite samples in 1 of 6 epochs: 2"),
        (bad, "bad channels among the picks: Cz"),
    ):
        with pytest.raises(EpochsError, match=message):
            explained(model, epochs)
    with pytest.raises(TypeError, match=r"expected mne.Epochs, got numpy.ndarray"):
        eeg.explain(model, np.zeros((2, 4, 50)))


def test_bad_channels_outside_the_picks_or_ignored():
    epochs = make_epochs()
    epochs.info["bads"] = ["Cz"]
    ds = explained(epochs=epochs, on_bad="ignore")
    assert ds.sizes["channel"] == 4
    spec = InputSpec.from_epochs(make_epochs())
    assert explained(epochs=epochs, on_bad="ignore", trained_on=spec).sizes["channel"] == 4
    assert epochs.info["bads"] == ["Cz"]
    assert explained(Linear(3), epochs, picks=["Fz", "C3", "C4"]).sizes["channel"] == 3


def test_the_order_of_picks_is_the_models_order():
    ds = explained(Linear(2), picks=("C4", "C3"))
    assert ds.channel.values.tolist() == ["C4", "C3"]
    np.testing.assert_array_equal(ds.input.values, make_epochs().get_data(["C4", "C3"]) * 1e6)


def test_trained_on_gives_scale_and_classes_and_is_checked():
    spec = InputSpec.from_epochs(make_epochs(), scale=1e3, classes=("left", "right"))
    ds = explained(trained_on=spec, target="right")
    assert ds.attrs["eeg_unit"] == "mV"
    with pytest.raises(EpochsMismatchError, match="sampling rate 50 Hz, in training 100 Hz"):
        explained(epochs=make_epochs().resample(50.0, verbose="error"), trained_on=spec)
    with pytest.raises(EpochsMismatchError, match="another order: channel 0 is C4"):
        explained(trained_on=spec, picks=["C4", "C3", "Cz", "Fz"])
    with pytest.raises(EpochsMismatchError, match=r"trained on volt \* 1000 \(mV\)"):
        explained(trained_on=spec, scale=1e6)
    with pytest.raises(EpochsMismatchError, match="the model was trained with"):
        explained(trained_on=spec, classes=("right", "left"))


def test_too_short_epochs_say_how_long_they_must_be():
    model = Convolutional().train()
    assert explained(model.eval(), make_epochs(n_times=31)).sizes["time"] == 31
    model.train()
    with pytest.raises(eeg.ModelInputError) as caught:
        explained(model, make_epochs(n_times=20))
    message = str(caught.value)
    assert "one epoch of shape (1, 4, 20), 20 samples = 0.200 s at 100 Hz" in message
    assert "RuntimeError: " in message
    assert "it takes 31 samples = 0.310 s and more" in message
    assert model.training
    assert model.conv.training


def test_a_wrong_number_of_channels_gives_the_models_own_error():
    with pytest.raises(eeg.ModelInputError, match=r"RuntimeError: expected \(batch, \(5, 50\)\)"):
        explained(Linear(5))


def test_models_with_a_plane_before_the_channels():
    model = Linear(flat_plane=True)
    with pytest.raises(eeg.ModelInputError, match=r"It takes \(1, 1, 4, 50\): give input_layout='n1ct'"):
        explained(model)
    ds = explained(model, input_layout="n1ct", target=0)
    assert ds.relevance.dims == ("epoch", "channel", "time")
    np.testing.assert_allclose(ds.relevance.values, explained(target=0).relevance.values, rtol=1e-10)
    with pytest.raises(eeg.ModelInputError, match=r"It takes \(1, 4, 50\): give input_layout='nct'"):
        explained(Linear(), input_layout="n1ct")


def test_epochs_that_are_not_loaded_stay_unloaded():
    data = np.random.default_rng(0).standard_normal((4, 2000)) * 1e-5
    raw = mne.io.RawArray(data, make_epochs().info, verbose="error")
    events = np.array([[100, 0, 1], [500, 0, 2], [1999, 0, 1]])  # the last one reaches beyond the end
    lazy = mne.Epochs(raw, events, tmin=0, tmax=0.49, baseline=None, verbose="error")
    ds = explained(epochs=lazy)
    assert not lazy.preload
    assert ds.event_sample.values.tolist() == [100, 500]
    np.testing.assert_array_equal(ds.input.values[1], data[:, 500:550] * 1e6)


def test_the_epochs_and_the_model_are_left_as_they_were():
    epochs, model = make_epochs(eog=True), Convolutional()
    before, state = epochs.copy(), {k: v.clone() for k, v in model.state_dict().items()}
    explained(model, epochs)
    np.testing.assert_array_equal(epochs._data, before._data)
    assert epochs.ch_names == before.ch_names
    assert model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_metadata_that_no_file_holds_is_named_and_ours_keep_their_names():
    epochs = make_epochs()
    epochs.metadata = epochs.metadata.assign(
        time=np.arange(6), mixed=["a", None, "b", 1, 2.0, ""], late=[True, False] * 3, rt=np.linspace(0, 1, 6)
    )
    ds = explained(epochs=epochs)
    assert json.loads(ds.attrs["eeg_metadata_left_out"]) == ["mixed"]
    assert ds.metadata_time.values.tolist() == list(range(6))
    assert ds.late.dtype == bool
    assert eeg.to_epochs(ds).metadata.columns.tolist() == ["run", "who", "time", "late", "rt"]


def test_the_progress_bar_counts_batches(capsys):
    explained(progress=True, batch_size=2)
    assert "3/3" in capsys.readouterr().err


def test_unknown_positions_are_nan():
    epochs = make_epochs()
    epochs.info["chs"][1]["loc"][:] = 0.0
    ds = explained(epochs=epochs)
    assert np.isnan(ds.channel_x.values).tolist() == [False, True, False, False]


def test_listing_names_loads_neither_mne_nor_matplotlib():
    code = (
        "import sys, sciexplain.domains.eeg as eeg;"
        "eeg.lobes, eeg.InputSpec, eeg.explain, eeg.to_evoked, eeg.plot_topomap;"
        "print([m for m in ('mne', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'explane'"):
        _ = eeg.explane
    assert {"explain", "plot_trial", "BANDS"} <= set(dir(eeg))
