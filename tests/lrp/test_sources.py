"""Integer inputs: tokens and elements by their rows of a table, pictures by their values, masks nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sciexplain as sx
from sciexplain import rules

LOOKUPS = {
    "embedding": lambda ids, table: F.embedding(ids, table),
    "index": lambda ids, table: table[ids],
    "index_select": lambda ids, table: table.index_select(0, ids.reshape(-1)).view(*ids.shape, -1),
    "one_hot": lambda ids, table: F.one_hot(ids, len(table)).to(table.dtype) @ table,
    "shifted": lambda ids, table: F.embedding(ids + 1 - 1, table),
    "renumbered": lambda ids, table: table[torch.arange(7)[ids]],
}


class Words(nn.Module):
    """Rows of a table, weighed by a mask of integers, then two layers."""

    def __init__(self, look):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.look = nn.Parameter(torch.randn(7, 4)), look
        self.head = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, ids, mask=None):
        rows = self.look(ids, self.table)
        if mask is not None:
            rows = rows * mask[..., None].to(rows.dtype)
        return self.head(rows.sum(1))


@pytest.mark.parametrize("look", LOOKUPS)
def test_a_token_gets_what_its_row_gets(look):
    net = Words(LOOKUPS[look]).double().eval()
    ids = torch.tensor([[0, 0, 3, 4], [6, 6, 6, 1], [2, 5, 0, 6]])
    ds = sx.explain(net, ids, target=1, method=sx.LRP(rules.Zero()))
    rows = net.table.detach()[ids].requires_grad_()  # LRP-0 of a ReLU network is row x gradient
    net.head(rows.sum(1))[:, 1].sum().backward()
    want = (rows * rows.grad).sum(-1).detach()
    np.testing.assert_allclose(ds.relevance, want, rtol=1e-10, atol=1e-13)
    assert ds.relevance.shape == ids.shape


def test_a_table_of_numbers():
    class Numbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64))

        def forward(self, elements):
            return self.table[elements].sum(1, keepdim=True)

    ds = sx.explain(Numbers().eval(), torch.tensor([[0, 1, 1], [2, 2, 0]]), method="epsilon")
    np.testing.assert_allclose(ds.relevance, [[0.5, -2, -2], [3, 3, 0.5]], rtol=1e-12)


def test_a_mask_of_integers_takes_nothing():
    net, ids = Words(LOOKUPS["index"]).double().eval(), torch.tensor([[0, 3, 4], [6, 1, 1]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    ds = sx.explain(net, {"ids": ids, "mask": mask}, target=0, method="epsilon")
    assert "relevance_mask" not in ds
    assert (ds.relevance_ids.values[mask.numpy() == 0] == 0).all()
    assert (ds.relevance_ids.values[mask.numpy() == 1] != 0).all()


def test_rows_of_what_is_computed_from_another_input_carry_on_to_it():
    class Edges(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 1)

        def forward(self, nodes, edges):
            return self.head((nodes[edges[0]] * 0.5 + nodes[edges[1]]).sum(0, keepdim=True))

    net, nodes = Edges().double().eval(), torch.randn(4, 3, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 1, 3], [1, 0, 2, 2]])
    ds = sx.explain(net, (nodes, edges), method=sx.LRP(rules.Zero()))
    times = torch.tensor([0.5 + 1, 1 + 1.0, 2, 0.5], dtype=torch.float64)
    want = times[:, None] * nodes * net.head.weight.detach()
    np.testing.assert_allclose(ds.relevance_nodes, want, rtol=1e-12)
    assert "relevance_edges" not in ds
