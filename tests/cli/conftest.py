"""One small network, saved in every way, in a folder of its own that is also the current one."""

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file
from torch import nn

from sciexplain.cli import main

SHAPE = (5, 3, 10)


class Net(nn.Module):
    """Convolution, batch norm with drawn statistics, dropout, a linear head."""

    def __init__(self, n_outputs=2):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(32, n_outputs)

    def forward(self, x):
        return self.head(self.encoder(x).flatten(1))


def make_net(seed=0):
    """A network whose batch norm is no identity, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Net()
        norm = net.encoder[1]
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return net.eval()


def export(net, path, batch=None, size=4):
    """`batch` is the dynamic batch dimension, None for a fixed one of `size`."""
    shapes = None if batch is None else ({0: batch},)
    program = torch.export.export(net, (torch.zeros(size, *SHAPE[1:]),), dynamic_shapes=shapes, strict=False)
    torch.export.save(program, path)
    return path


@pytest.fixture
def x():
    """float32 numbers of both signs."""
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def labelled(x):
    """The same numbers with names."""
    coords = {
        "trial": [f"t{i}" for i in range(5)],
        "channel": ["C3", "Cz", "C4"],
        "time": np.arange(10) / 100,
    }
    return xr.DataArray(x, coords, ("trial", "channel", "time"), name="signal")


@pytest.fixture
def net():
    """The network that the files hold."""
    return make_net()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The network exported with a free batch size; saved once."""
    return export(make_net(), tmp_path_factory.mktemp("exported") / "net.pt2", torch.export.Dim.AUTO)


@pytest.fixture
def folder(tmp_path, monkeypatch, x, net, exported):
    """The current folder: x.npy, net.pt2, and the weights as safetensors and as a weights-only state."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", x)
    (tmp_path / "net.pt2").write_bytes(exported.read_bytes())
    save_file(net.state_dict(), "net.safetensors")
    torch.save(net.state_dict(), "net.pt")
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    def call(*arguments):
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
