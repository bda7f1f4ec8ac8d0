"""`sciexplain explain`: every file gives what `sx.explain` gives; a failing run leaves nothing behind."""

import numpy as np
import pytest
import torch
import xarray as xr

import sciexplain as sx
from sciexplain.lrp.errors import ConservationWarning

from .conftest import Net, export, make_net

FACTORY = "tests.cli.conftest:make_net"
CLASS = "tests.cli.conftest:Net"


def same(path, want):
    """The file holds the dataset that the call returned, up to rounding of other batches and attributes."""
    have = sx.load(path)
    sx.validate(have)
    assert have.relevance.dims == want.relevance.dims
    assert have.target.values.tolist() == want.target.values.tolist()
    xr.testing.assert_allclose(have.drop_attrs(), want.drop_attrs(), rtol=1e-5, atol=1e-6)
    for name in ("method", "composite", "output_kind"):
        assert have.attrs.get(name) == want.attrs.get(name)
    return have


@pytest.mark.parametrize("out", ["r.nc", "r.zarr"])
def test_exported_program_and_plain_array(folder, run, net, x, out):
    code, printed, err = run("explain", "net.pt2", "x.npy", "-o", out)
    assert (code, err) == (0, "")
    have = same(out, sx.explain(net, x))
    assert have.attrs["model_digest"] == sx.explain(net, x).attrs["model_digest"]
    assert (have.attrs["model_source"], have.attrs["input_source"]) == ("net.pt2", "x.npy")
    assert "sample 5, dim_1 3, dim_2 10" in printed
    assert out in printed
    assert "conserved" in printed
    assert sorted(p.name for p in folder.glob("*r.*")) == [out]


@pytest.mark.parametrize(
    "given",
    [
        (FACTORY,),
        (CLASS, "--state", "net.safetensors"),
        (CLASS, "--state", "net.pt", "--factory-args", '{"n_outputs": 2}'),
    ],
)
def test_factories_and_weights(folder, run, net, x, given):
    assert run("explain", *given, "x.npy", "-o", "r.nc")[0] == 0
    same("r.nc", sx.explain(net, x))


def test_a_factory_in_the_current_folder(folder, run, net, x):
    (folder / "mynet_of_this_test.py").write_text("from tests.cli.conftest import make_net as build\n")
    assert run("explain", "mynet_of_this_test:build", "x.npy", "-o", "r.nc")[0] == 0
    same("r.nc", sx.explain(net, x))


def test_weights_in_float64_are_explained_in_float64(folder, run, x):
    net = make_net().double()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, "double.pt")
    assert run("explain", CLASS, "--state", "double.pt", "x.npy", "-o", "r.nc")[0] == 0
    have = same("r.nc", sx.explain(net, x))
    assert have.relevance.dtype == np.float64


def test_a_checkpoint_of_our_models(folder, run):
    net = sx.models.ShallowConvNet(n_chans=3, n_times=200, n_outputs=2, sfreq=100.0).eval()
    sx.models.save_checkpoint(net, "shallow.safetensors")
    x = np.random.default_rng(1).standard_normal((2, 3, 200))
    np.save("long.npy", x)
    assert run("explain", "shallow.safetensors", "long.npy", "-o", "r.nc")[0] == 0
    same("r.nc", sx.explain(net, x))


@pytest.mark.parametrize("file", ["in.nc", "in.zarr", "ours.nc", "classic.nc", "in.npz"])
def test_inputs_of_every_format(folder, run, net, labelled, file):
    other = xr.zeros_like(labelled).rename("other")
    both = xr.Dataset({"signal": labelled, "other": other})
    if file == "in.nc":
        both.to_netcdf(file, engine="h5netcdf")
    elif file == "in.zarr":
        both.to_zarr(file, zarr_format=2, consolidated=True)
    elif file == "ours.nc":
        sx.save(labelled, file)
    elif file == "classic.nc":
        both.to_netcdf(file, engine="scipy")
    else:
        np.savez(file, signal=labelled.values, other=other.values)
    assert run("explain", "net.pt2", file, "-o", "r.nc", "--variable", "signal")[0] == 0
    want = sx.explain(net, labelled.values if file == "in.npz" else labelled)
    have = same("r.nc", want)
    if file != "in.npz":
        assert have.channel.values.tolist() == ["C3", "Cz", "C4"]
    if file != "ours.nc":
        code, _, err = run("explain", "net.pt2", file, "-o", "r2.nc")
        assert code == 1
        assert "--variable" in err
        assert "other, signal" in err
    code, _, err = run("explain", "net.pt2", file, "-o", "r2.nc", "--variable", "sygnal")
    assert (code, "'sygnal'" in err, (folder / "r2.nc").exists()) == (1, True, False)


def test_targets_labels_dims_layers_and_batches(folder, run, net, x):
    options = ["--labels", "left,right", "--target", "right", "--dims", "trial,channel,time"]
    options += ["--layers", "encoder.0", "--batch-size", "2"]
    assert run("explain", "net.pt2", "x.npy", "-o", "r.nc", *options)[0] == 0
    names = {"dims": ("trial", "channel", "time"), "coords": {"output": ["left", "right"]}}
    want = sx.explain(net, x, target="right", layers=("encoder.0",), batch_size=2, **names)
    have = same("r.nc", want)
    assert "relevance_encoder.0" in have
    assert run("explain", "net.pt2", "x.npy", "-o", "n.nc", "--target", "1")[0] == 0
    np.testing.assert_allclose(sx.load("n.nc").relevance, have.relevance, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "method"),
    [
        (["--method", "epsilon_gamma"], "epsilon_gamma"),
        (["--method", "gradient_times_input"], "gradient_times_input"),
        (["--method", "lrp", "--input-rule", "WSquare()"], sx.LRP("epsilon_plus", input=sx.rules.WSquare())),
        (
            [
                "--rule",
                "conv=Gamma(gamma=0.5)",
                "--rule",
                "head = Epsilon(0.01)",
                "--input-rule",
                "ZBox(-5, 5)",
            ],
            sx.LRP(
                sx.Composite(
                    {
                        "conv": sx.rules.Gamma(0.5),
                        "linear": sx.rules.Epsilon(1e-6),
                        "head": sx.rules.Epsilon(0.01),
                    }
                ),
                input=sx.rules.ZBox(-5, 5),
            ),
        ),
        (["--rule", "Epsilon(0.1)"], sx.LRP(sx.rules.Epsilon(0.1))),
    ],
)
def test_methods_and_rules(folder, run, net, x, options, method):
    assert run("explain", "net.pt2", "x.npy", "-o", "r.nc", *options)[0] == 0
    same("r.nc", sx.explain(net, x, method=method))


def test_the_final_softmax_is_left_out_unless_asked_for(folder, run, net, x):
    export(torch.nn.Sequential(net, torch.nn.Softmax(1)), "soft.pt2", torch.export.Dim.AUTO)
    assert run("explain", "soft.pt2", "x.npy", "-o", "logit.nc")[0] == 0
    np.testing.assert_allclose(sx.load("logit.nc").score, sx.explain(net, x).score, rtol=1e-6)
    options = ["--method", "gradient_times_input", "--output", "as_is"]
    code, printed, _ = run("explain", "soft.pt2", "x.npy", "-o", "kept.nc", *options)
    assert (code, "differs" in printed) == (0, True)
    assert float(sx.load("kept.nc").score.max()) <= 1


def test_an_existing_file_needs_force(folder, run, net, x):
    out = folder / "r.nc"
    out.write_text("precious")
    code, _, err = run("explain", "net.pt2", "x.npy", "-o", "r.nc")
    assert (code, "--force" in err, out.read_text()) == (1, True, "precious")
    assert run("explain", "net.pt2", "x.npy", "-o", "r.nc", "--force")[0] == 0
    same("r.nc", sx.explain(net, x))


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("failure", ["bad input", "while explaining", "while writing", "interrupt"])
def test_a_failing_run_leaves_nothing_and_touches_nothing(folder, run, x, monkeypatch, existing, failure):
    if existing:
        (folder / "r.nc").write_text("precious")
    raised = KeyboardInterrupt() if failure == "interrupt" else RuntimeError("power cut")

    def fail(*_, **__):
        raise raised

    if failure == "bad input":
        x[3, 0, 0] = np.nan
        np.save("x.npy", x)
    elif failure == "while explaining":
        monkeypatch.setattr("sciexplain.methods.lrp.PreparedLRP.run", fail)
    else:
        monkeypatch.setattr("sciexplain.relevance.storage._replace", fail)
    before = sorted(p.name for p in folder.iterdir())
    code, printed, err = run("explain", "net.pt2", "x.npy", "-o", "r.nc", "--force")
    assert (code, printed) == (130 if failure == "interrupt" else 1, "")
    wanted = {"bad input": "error: The input holds NaN", "interrupt": "interrupted"}
    assert err.startswith(wanted.get(failure, "error: RuntimeError: power cut"))
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert sorted(p.name for p in folder.iterdir()) == before
    if existing:
        assert (folder / "r.nc").read_text() == "precious"


@pytest.mark.parametrize("out", ["r.csv", "r", "nowhere/r.nc", "locked/r.nc"])
def test_the_output_is_checked_before_any_work(folder, run, monkeypatch, out):
    (folder / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith("locked"))

    def never(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr("sciexplain.modelfiles.load_model", never)
    code, _, err = run("explain", "net.pt2", "x.npy", "-o", out)
    assert code == 1
    assert repr(out.partition("/")[0] if "/" in out else out) in err


def test_warnings_are_one_line_each(folder, run, monkeypatch):
    monkeypatch.setattr("sciexplain.api._TOLERANCE", {torch.float32: -1.0})
    with pytest.warns(ConservationWarning):
        sx.explain(make_net(), np.load("x.npy"))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run("explain", "net.pt2", "x.npy", "-o", "r.nc")
    assert code == 0
    assert err.startswith("warning: The score and the sum")
    assert err.count("\n") == 1


def test_the_network_of_these_tests_is_not_trivial(net, x):
    ds = sx.explain(net, x)
    assert set(ds.target.values.tolist()) == {0, 1}
    assert float(abs(ds.relevance).min()) >= 0
    assert float(abs(ds.relevance).max()) > 1e-3
    assert not np.allclose(ds.relevance, sx.explain(Net().eval(), x).relevance)
