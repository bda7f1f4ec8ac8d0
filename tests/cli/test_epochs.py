"""MNE epochs through the command line give what `sx.eeg.explain` gives."""

import mne
import numpy as np
import pytest
import torch

import sciexplain as sx

NAMES = ("C3", "Cz", "C4")


class Decoder(torch.nn.Module):
    """(batch, 3, 20) microvolt -> 2 logits."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv = torch.nn.Conv1d(3, 4, 5, bias=False)
            self.head = torch.nn.Linear(64, 2)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten(1))


@pytest.fixture
def epochs(folder):
    """Noise in volt, saved twice under MNE's two names, with a description of the training input."""
    info = mne.create_info([*NAMES, "EOG"], 100.0, ["eeg"] * 3 + ["eog"], verbose="error")
    data = 1e-5 * np.random.default_rng(0).standard_normal((6, 4, 20))
    events = np.stack([100 * np.arange(6), np.zeros(6, int), np.arange(6) % 2 + 1], axis=1)
    made = mne.EpochsArray(data, info, events, event_id={"left": 1, "right": 2}, verbose="error")
    made.save("s1-epo.fif", fmt="double", verbose="error")
    made.save("s1_epo.fif", fmt="double", verbose="error")
    read = mne.read_epochs("s1-epo.fif", verbose="error")
    spec = sx.eeg.InputSpec.from_epochs(read, classes=("left", "right"))
    (folder / "spec.json").write_text(spec.to_json())
    return read


@pytest.fixture
def model():
    """The decoder, exported with a free batch size."""
    decoder = Decoder().eval()
    shapes = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(decoder, (torch.zeros(4, 3, 20),), dynamic_shapes=shapes, strict=False)
    torch.export.save(program, "decoder.pt2")
    return decoder


def test_epochs_and_their_own_classes(run, epochs, model):
    options = ["--trained-on", "spec.json", "--target", "event"]
    assert run("explain", "decoder.pt2", "s1-epo.fif", "-o", "r.nc", *options)[0] == 0
    have = sx.load("r.nc")
    want = sx.eeg.explain(model, epochs, classes=("left", "right"), target="event", progress=False)
    assert have.relevance.dims == ("epoch", "channel", "time")
    assert have.channel.values.tolist() == list(NAMES)
    assert have.target.values.tolist() == ["left", "right"] * 3
    np.testing.assert_allclose(have.relevance, want.relevance, rtol=1e-5, atol=1e-6)
    assert sx.eeg.to_evoked(have).ch_names == list(NAMES)


def test_channels_unit_and_labels(run, epochs, model):
    options = ["--picks", "C4,Cz,C3", "--unit", "mV", "--labels", "left,right", "--target", "right"]
    assert run("explain", "tests.cli.test_epochs:Decoder", "s1_epo.fif", "-o", "r.nc", *options)[0] == 0
    have = sx.load("r.nc")
    want = sx.eeg.explain(
        model,
        epochs,
        picks=["C4", "Cz", "C3"],
        scale=1e3,
        classes=("left", "right"),
        target="right",
        progress=False,
    )
    np.testing.assert_allclose(have.relevance, want.relevance, rtol=1e-5, atol=1e-6)
    assert (have.channel.values.tolist(), have.attrs["eeg_unit"]) == (["C4", "Cz", "C3"], "mV")


def test_a_difference_from_training_is_an_error(run, folder, epochs, model):
    spec = (folder / "spec.json").read_text()
    (folder / "spec.json").write_text(spec.replace('"sfreq": 100.0', '"sfreq": 250.0'))
    for command in (("explain", "-o", "r.nc"), ("plan",)):
        name, *rest = command
        code, _, err = run(name, "decoder.pt2", "s1-epo.fif", *rest, "--trained-on", "spec.json")
        assert code == 1
        assert "sampling rate 100 Hz" in err
    assert not (folder / "r.nc").exists()


def test_plan_of_epochs(run, epochs, model):
    code, printed, _ = run("plan", "decoder.pt2", "s1-epo.fif", "--trained-on", "spec.json")
    assert code == 0
    assert "(B,4,16)" in printed  # 20 moments go in, the kernel takes 5


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("s1-raw.fif", [], ["-epo.fif", "mne.Epochs"]),
        ("s1-epo.fif", ["--dims", "a,b,c"], ["--dims", "only for arrays"]),
        ("x.npy", ["--picks", "C3", "--unit", "V"], ["--picks, --unit", "only for epochs"]),
        ("s1-epo.fif", ["--trained-on", "x.npy"], ["x.npy", "InputSpec"]),
        ("s2-epo.fif", [], ["no input file"]),
    ],
)
def test_options_and_files_that_do_not_go_together(run, folder, epochs, model, file, options, words):
    (folder / "s1-raw.fif").write_bytes(b"")
    code, _, err = run("explain", "decoder.pt2", file, "-o", "r.nc", *options)
    assert code == 1
    assert all(word in err for word in words), err
    assert not (folder / "r.nc").exists()
