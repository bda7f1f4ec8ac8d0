"""Checkpoints: what was saved comes back, exactly; what is no checkpoint is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sciexplain.models import NETWORKS, CheckpointError, EEGNet, load_checkpoint, save_checkpoint


class Tied(nn.Module):
    """Two names for one weight, and no `config`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", NETWORKS.values())
def test_round_trip(network, dtype, tmp_path):
    net = network(4, 3, 300, sfreq=125, drop_prob=0.25).to(dtype).eval()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_var.uniform_(0.5, 2)
    info = {"channels": ["C3", "Cz", "C4", "Pz"], "classes": ["left", "right", "rest"], "accuracy": 0.75}
    path = save_checkpoint(net, tmp_path / "net.safetensors", info=info)
    state = torch.get_rng_state()
    again, notes = load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert notes == info
    assert type(again) is network
    assert again.config == net.config
    assert not again.training
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
        assert again.state_dict()[name].dtype == value.dtype
    x = torch.randn(2, 4, 300, dtype=dtype)
    assert torch.equal(again(x), net(x))
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_foreign_network_needs_its_constructor(tmp_path):
    net = Tied(3)
    with pytest.raises(CheckpointError, match="no `config`"):
        save_checkpoint(net, tmp_path / "tied")
    path = save_checkpoint(net, tmp_path / "tied", {"width": 3})
    with pytest.raises(CheckpointError, match="'Tied' is none of"):
        load_checkpoint(path)
    again, _ = load_checkpoint(path, Tied)
    assert again.second.weight is again.first.weight
    x = torch.randn(2, 3)
    assert torch.equal(again(x), net(x))


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = save_checkpoint(EEGNet(2, 2, 300), tmp_path / "net", info={"run": 1})

    def refuse(*_):
        raise OSError("full")

    monkeypatch.setattr("sciexplain.models.checkpoint.os.replace", refuse)
    with pytest.raises(OSError, match="full"):
        save_checkpoint(EEGNet(2, 2, 300), path, info={"run": 2})
    assert load_checkpoint(path)[1] == {"run": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_json_is_refused(tmp_path):
    for value in (np.float32(1), float("nan"), {1, 2}):
        with pytest.raises(CheckpointError, match="must be JSON"):
            save_checkpoint(EEGNet(2, 2, 300), tmp_path / "net", info={"value": value})
    assert not list(tmp_path.iterdir())


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_checkpoint(tmp_path / "missing")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(tmp_path / "text")
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare")
    with pytest.raises(CheckpointError, match="no 'sciexplain' metadata"):
        load_checkpoint(tmp_path / "bare")
    path = save_checkpoint(EEGNet(2, 2, 300), tmp_path / "net", EEGNet(3, 2, 300).config)
    with pytest.raises(CheckpointError, match="does not fit EEGNet"):
        load_checkpoint(path)
