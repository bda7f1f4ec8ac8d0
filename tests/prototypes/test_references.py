"""Reference samples against a loop over single samples with torch's own gradients."""

import gc
import weakref

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sciexplain as sx
from sciexplain import rules
from sciexplain.prototypes.best import Best

ZERO = sx.LRP(rules.Zero())


@pytest.fixture
def net():
    """Without biases: LRP-0 is gradient x input at every layer."""
    torch.manual_seed(3)
    first = (nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2, bias=False), nn.ReLU())
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(27, 5, bias=False)).double().eval()


@pytest.fixture
def data():
    return torch.randn(23, 2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def activation_and_relevance(net, x, upto, target=None):
    """(channel, place) each, of one sample, at the layer that ends the first `upto` modules."""
    a = net[:upto](x[None]).detach().requires_grad_()
    out = net[upto:](a)[0]
    out[int(out.argmax()) if target is None else target].backward()
    return a.detach()[0].flatten(1).numpy(), (a * a.grad).detach()[0].flatten(1).numpy()


def slowly(values, reduce, n, largest=True):
    """index and score (unit, n) of values (sample, unit, place)."""
    sign = 1 if largest else -1
    if reduce == "max":
        score = sign * (sign * values).max(2)
    elif reduce == "centre":
        score = values[:, :, values.shape[2] // 2]
    else:
        score = getattr(values, reduce)(2)
    columns = [sorted(range(len(score)), key=lambda i, c=c: (-sign * score[i, c], i))[:n]
               for c in range(score.shape[1])]  # fmt: skip
    return np.array(columns), np.array([score[rows, c] for c, rows in enumerate(columns)])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("reduce", ["max", "sum", "mean", "centre"])
@pytest.mark.parametrize("by", ["activation", "relevance"])
def test_the_best_samples_are_those_of_a_loop(net, data, by, reduce, largest):
    each = [activation_and_relevance(net, x, 4)[by == "relevance"] for x in data]
    index, score = slowly(np.stack(each), reduce, 6, largest)
    ds = sx.reference_samples(
        net, data, "3", by=by, n=6, method=ZERO, reduce=reduce, largest=largest, batch_size=5, keep=()
    )
    assert ds.index.dims == ("unit", "rank")
    np.testing.assert_array_equal(ds.index.values, index)
    np.testing.assert_allclose(ds.score.values, score, rtol=1e-10, atol=1e-12)
    sign = 1 if largest else -1
    for u in range(3):
        for r in range(6):
            line = each[index[u, r]][u]
            place = len(line) // 2 if reduce == "centre" else int((sign * line).argmax())
            assert ds.place.values[u, r] == place
    assert ds.attrs["samples"] == 23


def test_normalised_relevance_is_a_share_of_the_layer(net, data):
    each = np.stack([activation_and_relevance(net, x, 2)[1] for x in data])
    each /= np.abs(each).sum((1, 2), keepdims=True)
    index, score = slowly(each, "sum", 4)
    ds = sx.reference_samples(
        net, data, "1", by="relevance", n=4, method=ZERO, normalise=True, batch_size=7, keep=()
    )
    np.testing.assert_array_equal(ds.index.values, index)
    np.testing.assert_allclose(ds.score.values, score, rtol=1e-10)


def test_classes_by_activation_and_by_relevance(net, data):
    out = net(data).detach().numpy()
    index, score = slowly(out[:, :, None], "sum", 3)
    by_name = {"output": list("abcde")}
    ds = sx.reference_samples(net, data, channels=["d", "a"], n=3, coords=by_name, batch_size=4)
    np.testing.assert_array_equal(ds.index.values, index[[3, 0]])
    np.testing.assert_allclose(ds.score.values, score[[3, 0]], rtol=1e-12)
    assert ds.unit.values.tolist() == ["d", "a"]
    np.testing.assert_array_equal(ds.input.sel(unit="d", rank=1), data[index[3, 1]])

    chosen = np.where(out == out.max(1, keepdims=True), out, 0.0)
    index, score = slowly(chosen[:, :, None], "sum", 3)
    ds = sx.reference_samples(net, data, by="relevance", n=3, batch_size=4)
    np.testing.assert_array_equal(ds.index.values, index)
    np.testing.assert_allclose(ds.score.values, score, rtol=1e-12)
    ds = sx.reference_samples(
        net, data, channels="a", by="relevance", n=2, target="b", coords=by_name, keep=()
    )
    assert (ds.score.values == 0).all()  # nothing of b's output is a's


def test_each_sample_may_have_a_target_of_its_own(net, data):
    targets = [k % 5 for k in range(23)]
    each = np.stack([activation_and_relevance(net, x, 4, t)[1] for x, t in zip(data, targets)])
    index, score = slowly(each, "sum", 5)
    ds = sx.reference_samples(
        net, data, "3", by="relevance", n=5, method=ZERO, target=targets, batch_size=6, keep=["relevance"]
    )
    np.testing.assert_array_equal(ds.index.values, index)
    np.testing.assert_allclose(ds.score.values, score, rtol=1e-10)
    np.testing.assert_allclose(ds.relevance.sum(("dim_1", "dim_2", "dim_3")).values, score, rtol=1e-9)


@pytest.mark.parametrize("form", ["array", "labelled", "pairs", "dataset", "loader", "generator", "keyword"])
def test_data_may_come_in_many_forms(net, data, form):
    wanted = sx.reference_samples(net, data, "1", n=4, batch_size=6)
    labels = torch.arange(23)
    forms = {
        "array": lambda: data.numpy(),
        "labelled": lambda: xr.DataArray(
            data.numpy(),
            dims=("photo", "colour", "row", "column"),
            coords={"photo": [f"p{k}" for k in range(23)], "digit": ("photo", np.arange(23) % 10)},
        ),
        "pairs": lambda: [(x, int(y)) for x, y in zip(data, labels)],
        "dataset": lambda: TensorDataset(data, labels),
        "loader": lambda: DataLoader(TensorDataset(data, labels), batch_size=9),
        "generator": lambda: (data[k : k + 4].numpy() for k in range(0, 23, 4)),
        "keyword": lambda: {"input": data},
    }
    ds = sx.reference_samples(net, forms[form](), "1", n=4, batch_size=6)
    np.testing.assert_array_equal(ds.index.values, wanted.index.values)
    np.testing.assert_allclose(ds.score.values, wanted.score.values, rtol=1e-12)
    name = "input_input" if form == "keyword" else "input"
    np.testing.assert_array_equal(ds[name].values, wanted.input.values)
    if form == "labelled":
        assert ds.input.dims == ("unit", "rank", "colour", "row", "column")
        assert ds.photo.dims == ("unit", "rank")
        assert (ds.photo.values == np.char.add("p", ds.index.values.astype(str))).all()
        np.testing.assert_array_equal(ds.digit, ds.index % 10)


def test_two_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4, bias=False), nn.Linear(2, 4, bias=False)
            self.act, self.head = nn.ReLU(), nn.Linear(4, 2, bias=False)

        def forward(self, left, right):
            return self.head(self.act(self.a(left) + self.b(right)))

    torch.manual_seed(0)
    net = Two().double().eval()
    left, right = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    hidden = net.act(net.a(left) + net.b(right))
    relevance = (hidden * net.head.weight[net(left, right).argmax(1)]).detach().numpy()
    index, score = slowly(relevance[:, :, None], "sum", 2)
    ds = sx.reference_samples(
        net, (left, right), "act", by="relevance", n=2, method=ZERO, batch_size=4,
        keep=["input", "relevance", "box"],
    )  # fmt: skip
    np.testing.assert_array_equal(ds.index.values, index)
    np.testing.assert_array_equal(ds.input_left.values, left.numpy()[index])
    total = ds.relevance_left.values.sum(2) + ds.relevance_right.values.sum(2)
    np.testing.assert_allclose(total, score, rtol=1e-9, atol=1e-12)
    assert ds.box_right.dims == ("unit", "rank", "right_axis", "edge")


@pytest.mark.parametrize("reduce", ["max", "sum"])
@pytest.mark.parametrize("method", [ZERO, sx.GradientTimesInput()])
def test_relevance_by_activation_explains_the_unit(net, data, method, reduce):
    ds = sx.reference_samples(
        net, data, "3", n=3, method=method, reduce=reduce, keep=["input", "relevance"], batch_size=8
    )
    for u in range(3):
        for r in range(3):
            x = data[ds.index.values[u, r]].clone().requires_grad_()
            line = net[:4](x[None])[0, u]
            (line.max() if reduce == "max" else line.sum()).backward()
            np.testing.assert_allclose(ds.relevance.values[u, r], (x * x.grad).detach(), atol=1e-12)
    assert ds.relevance.dims == ds.input.dims == ("unit", "rank", "dim_1", "dim_2", "dim_3")


def test_relevance_by_relevance_passes_through_the_unit_only(net, data):
    ds = sx.reference_samples(net, data, "1", by="relevance", n=2, method=ZERO, keep=["relevance"], target=2)
    for u in range(4):
        for r in range(2):
            x = data[ds.index.values[u, r]].clone().requires_grad_()
            a = net[:2](x[None])
            message = torch.autograd.grad(net[2:](a)[0, 2], a, retain_graph=True)[0]
            (g,) = torch.autograd.grad((a[0, u] * message[0, u].detach()).sum(), x)
            np.testing.assert_allclose(ds.relevance.values[u, r], (x * g).detach(), atol=1e-12)
    np.testing.assert_allclose(
        ds.relevance.sum(("dim_1", "dim_2", "dim_3")).values, ds.score.values, rtol=1e-9
    )


def test_the_box_is_the_receptive_field_of_the_strongest_place():
    """Two convolutions, 3 wide and then 2 wide with stride 2: place p sees 2 p to 2 p + 3."""
    net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv1d(1, 2, 2, stride=2), nn.Flatten(), nn.Linear(14, 1))
    x = torch.randn(6, 1, 16)
    ds = sx.reference_samples(net.eval(), x, "1", n=6, keep=["box"])
    assert ds.axis.values.tolist() == ["dim_1", "dim_2"]
    places = ds.place.values
    assert len(set(places.ravel().tolist())) > 2
    np.testing.assert_array_equal(ds.box.sel(axis="dim_2", edge="start"), 2 * places)
    np.testing.assert_array_equal(ds.box.sel(axis="dim_2", edge="stop"), 2 * places + 4)
    np.testing.assert_array_equal(ds.box.sel(axis="dim_1"), np.broadcast_to([0, 1], (2, 6, 2)))


def test_a_box_is_empty_where_the_unit_sees_nothing():
    net = nn.Sequential(nn.Linear(3, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    nn.init.constant_(net[0].weight, -1.0)
    ds = sx.reference_samples(net.eval(), torch.ones(2, 3), "1", n=1, keep=["box"])
    assert (ds.box.values == 0).all()


def test_channels_are_last_after_dense_layers_on_tokens():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2)).eval()
    x = torch.randn(8, 5, 3)
    ds = sx.reference_samples(net, x, "1", n=2, keep=())
    wanted = net[:2](x).detach().max(1).values
    np.testing.assert_array_equal(ds.index.values, wanted.argsort(0, descending=True)[:2].T)
    assert ds.sizes["unit"] == 4
    other = sx.reference_samples(net, x, "1", n=2, keep=(), channel_dim=1)
    wanted = net[:2](x).detach().max(2).values
    np.testing.assert_array_equal(other.index.values, wanted.argsort(0, descending=True)[:2].T)
    assert other.sizes["unit"] == 5


def test_memory_does_not_grow_with_the_data():
    net = nn.Linear(50, 2).eval()
    alive = weakref.WeakSet()
    most = 0

    class Array(np.ndarray):
        """ndarray itself cannot be in a weak set."""

        def __hash__(self):
            return id(self)

    def batches():
        nonlocal most
        random = np.random.default_rng(0)
        for _ in range(40):
            if len(alive) > 2:  # only then: among the objects of all tests a collection takes seconds
                gc.collect()
            most = max(most, len(alive))
            batch = random.standard_normal((8, 50)).astype(np.float32).view(Array)
            alive.add(batch)
            yield batch
            del batch

    ds = sx.reference_samples(net, batches(), n=3)
    assert ds.attrs["samples"] == 320
    assert most <= 2


def test_what_falls_out_of_the_best_is_let_go(net, data, monkeypatch):
    from sciexplain.prototypes import references

    held = []
    update = references.Kept.update

    def watched(self, *args):
        update(self, *args)
        held.append(len(self.inputs))

    monkeypatch.setattr(references.Kept, "update", watched)
    ds = sx.reference_samples(net, data, "3", channels=[0, 2], n=2, batch_size=3)
    assert max(held) <= 4
    assert len(held) == 8
    np.testing.assert_array_equal(ds.input.values, data.numpy()[ds.index.values])


def test_fewer_samples_than_asked_for(net, data):
    ds = sx.reference_samples(net, data[:2], "3", n=3, keep=["input"])
    assert (ds.index.values[:, 2] == -1).all()
    assert np.isnan(ds.score.values[:, 2]).all()
    assert np.isnan(ds.input.values[:, 2]).all()
    assert np.isfinite(ds.input.values[:, :2]).all()


def test_the_earlier_sample_wins_a_tie():
    best = Best(2, 1)
    best.add(0, np.array([[1.0], [2.0]]), np.zeros((2, 1), dtype=int))
    best.add(2, np.array([[2.0], [2.0]]), np.ones((2, 1), dtype=int))
    assert best.index.ravel().tolist() == [1, 2]
    assert best.place.ravel().tolist() == [0, 1]
    with pytest.raises(ValueError, match="The score of sample 5 is NaN"):
        best.add(4, np.array([[0.0], [np.nan]]), np.zeros((2, 1), dtype=int))


def test_the_model_is_left_as_it_was(net, data):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    sx.reference_samples(net, data, "1", by="relevance", n=2, keep=["input", "relevance", "box"])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())


def test_the_result_can_be_saved(net, data, tmp_path):
    ds = sx.reference_samples(net, data, "1", by="relevance", n=2, keep=["input", "relevance", "box"])
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load(), ds)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"by": "size"}, ValueError, "by='size'; possible are 'activation' and 'relevance'"),
        ({"n": 0}, ValueError, "n=0; expected a positive integer"),
        ({"keep": ["inputs"]}, ValueError, "expected a list of some of 'input', 'relevance', 'box'"),
        ({"reduce": "min"}, ValueError, "reduce='min'; possible are 'max', 'sum', 'mean', 'centre'"),
        ({"channels": [7]}, ValueError, r"\[7\] are none of the 5 outputs \(0 to 4\)"),
        ({"channels": [1, 1]}, ValueError, "expected different outputs"),
        ({"layer": "3", "channels": 3}, ValueError, "none of the 3 channels of '3'"),
        ({"channels": "cat"}, sx.TargetError, "'cat' is a label, but no labels were given"),
        ({"layer": "30"}, sx.PlanError, "'30'"),
        ({"layer": "3", "channel_dim": 0}, sx.InputError, "expected an integer from 1 to 3"),
        ({"target": sx.Targets([0, 1])}, ValueError, "takes one target"),
        (
            {"layer": "3", "by": "relevance", "method": "sensitivity", "keep": ["relevance"]},
            ValueError,
            "cannot send relevance through one channel",
        ),
        ({"data": 3}, sx.InputError, "data is a int; expected an array"),
        ({"data": []}, sx.InputError, "holds no samples"),
        ({"data": iter([])}, sx.InputError, "holds no samples"),
        ({"data": [np.zeros((2, 9, 9)), np.zeros((2, 9, 8))]}, sx.InputError, "different shapes"),
        ({"data": iter([7])}, sx.InputError, "says which part of an item they are; got int"),
    ],
)
def test_what_does_not_fit_is_refused(net, data, settings, error, words):
    with pytest.raises(error, match=words):
        sx.reference_samples(**{"model": net, "data": data, **settings})


def test_a_model_in_training_mode_is_refused(data):
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(162, 2)).double()
    with pytest.raises(sx.InputError, match=r"call model\.eval\(\) first"):
        sx.reference_samples(net, data)
