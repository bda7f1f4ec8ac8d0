"""What an explanation must mean: symmetries, masks, reach, and two spellings of one function."""

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.zoo import agents, attention, convolutional, graphs, language, sequences, signals
from tests.zoo.checks import Case, built, doubled, relevances

ZERO, PLUS = sx.LRP(rules.Zero()), sx.LRP("epsilon_plus")


def relevance(net, inputs, method=ZERO, **options):
    """float64 arrays, one per input that carries relevance."""
    return [r.values for r in relevances(sx.explain(net, inputs, method=method, **options))]


def ready(make, inputs):
    return built(Case(make, inputs)).double()


def close(a, b, rtol=1e-9):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_without_biases_all_of_the_score_is_input_times_gradient():
    net = convolutional.VGG(convolutional.VGG_SMALL, side=2, bias=False).double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[:, 4].sum(), x)
    ds = sx.explain(net, x.detach(), target=4, method=ZERO)
    close(ds.relevance.values, (x * gradient).detach().numpy())
    close(ds.relevance.sum(ds.relevance.dims[1:]).values, net(x)[:, 4].detach().numpy())
    np.testing.assert_allclose(ds.absorbed.values, 0, atol=1e-12)


# Atoms have no order: relevance goes where its atom goes.


@pytest.mark.parametrize("method", [ZERO, PLUS], ids=["0", "epsilon_plus"])
@pytest.mark.parametrize("make", [graphs.SchNet, graphs.DTNN])
def test_relevance_permutes_with_the_atoms_of_dense_molecules(make, method):
    net = ready(make, graphs.molecules)
    charges, distances = doubled(graphs.molecules(2))
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    atoms, pairs = relevance(net, (charges, distances), method)
    moved = relevance(net, (charges[:, order], distances[:, order][:, :, order]), method)
    close(moved[0], atoms[:, order])
    close(moved[1], pairs[:, order][:, :, order])
    assert (atoms[charges.numpy() == 0] == 0).all()  # no atom, no relevance
    assert (np.abs(atoms[charges.numpy() > 0]) > 0).all()


@pytest.mark.parametrize("make", [graphs.GIN, graphs.ScatterGCN, graphs.GAT])
def test_relevance_permutes_with_the_nodes_of_flat_graphs(make):
    net = ready(make, graphs.flat_graphs)
    x, edges, graph, many = doubled(graphs.flat_graphs(3))
    order = torch.randperm(len(x))
    place = torch.argsort(order)  # where each old node is now
    (before,) = relevance(net, (x, edges, graph, many))
    (after,) = relevance(net, (x[order], place[edges], graph[order], many))
    close(after, before[order], rtol=1e-8)


@pytest.mark.parametrize("make", [graphs.GIN, graphs.ScatterGCN, graphs.GAT])
def test_graphs_side_by_side_do_not_share_relevance(make):
    net = ready(make, graphs.flat_graphs)
    x, edges, graph, _ = doubled(graphs.flat_graphs(2))
    (both,) = relevance(net, (x, edges, graph, 2), target=1)
    first = graph == 0
    (alone,) = relevance(net, (x[first], edges[:, first[edges[0]]], graph[first], 1), target=1)
    close(both[first.numpy()], alone, rtol=1e-8)


@pytest.mark.parametrize("method", [ZERO, PLUS], ids=["0", "epsilon_plus"])
def test_dense_and_flat_spellings_of_schnet_agree(method):
    flat = ready(graphs.FlatSchNet, graphs.flat_molecules)
    charges, distances = doubled(graphs.molecules(3))
    given = doubled(graphs.flat_molecules(3))
    atoms, pairs = relevance(flat.dense, (charges, distances), method)
    flat_atoms, flat_pairs = relevance(flat, given, method)
    close(flat_atoms, atoms[charges.numpy() > 0])
    molecule, atom = torch.nonzero(charges, as_tuple=True)
    a, b = given[2]
    close(flat_pairs, pairs[molecule[a], atom[a], atom[b]])
    assert pairs.sum() == pytest.approx(flat_pairs.sum(), rel=1e-9)  # none is at pairs that are no pairs


def test_points_of_a_cloud_have_no_order():
    net = ready(graphs.PointNet, attention.series(3, 14))
    x = attention.series(3, 14)(2).double()
    order = torch.randperm(14)
    close(relevance(net, x[:, :, order])[0], relevance(net, x)[0][:, :, order])


# Words that are masked are not there.

TEXTS = {
    "bert": (language.bert, "epsilon"),
    "bert, written-out attention": (lambda: language.bert(attn_implementation="eager"), "attnlrp"),
    "roberta": (language.roberta, "epsilon"),
    "distilbert": (language.distilbert, "attnlrp"),
    "gpt2": (language.gpt2, "epsilon"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_masked_words_have_no_relevance_and_change_none(name):
    make, composite = TEXTS[name]
    net = ready(make, language.texts)
    given = language.texts(2)
    assert (given["attention_mask"][1] == 0).any()
    options = {"method": sx.LRP(composite), "output_name": "logits", "target": 1}
    (found,) = relevance(net, given, **options)
    masked = given["attention_mask"].numpy() == 0
    assert (found[masked] == 0).all()
    assert (np.abs(found[~masked]) > 0).all()
    short = {k: v[1:, :7] for k, v in given.items()}  # the second text, without filling
    assert short["attention_mask"].all()
    (alone,) = relevance(net, short, **options)
    close(found[1:, :7], alone, rtol=1e-7)


def test_words_that_are_filling_have_no_relevance_in_torchs_own_encoder():
    net = ready(attention.TextEncoder, attention.words)
    ids = attention.words(3)
    (found,) = relevance(net, ids)
    assert (ids == 0).any()
    assert (found[(ids == 0).numpy()] == 0).all()
    assert (np.abs(found[(ids > 0).numpy()]) > 0).all()


def test_the_output_of_a_data_class_goes_by_its_name_or_by_being_alone():
    net = ready(language.bert, language.texts)
    given = language.texts(2)
    named = relevance(net, given, output_name="logits", target=2)
    close(relevance(net, given, target=2)[0], named[0])
    close(relevance(net, given, target=lambda out: out.logits[:, 2])[0], named[0])


def test_one_output_of_a_dictionary():
    inputs = convolutional.images(21, channels=1)
    net = ready(convolutional.UNet, inputs)
    x = inputs(2).double()
    ds = sx.explain(net, x, output_name="embedding", target=3)
    close(ds.score.values, net(x)["embedding"][:, 3].detach().numpy())
    assert float(abs(ds.relevance).sum()) > 0


# How far a network reaches in time.


def test_causal_convolutions_see_their_receptive_field_alone():
    net = ready(sequences.TCN, attention.series(4, 40))
    (found,) = relevance(net, attention.series(4, 40)(2).double())
    reach = 1 + 2 * 2 * (1 + 2 + 4)  # two convolutions of three taps at each dilation
    assert (found[:, :, :-reach] == 0).all()
    assert (np.abs(found[:, :, -reach:]).sum(1) > 0).all()


def test_a_causal_mask_keeps_relevance_from_the_future():
    class Middle(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = attention.SeriesTransformer()

        def forward(self, x):
            inner = self.net.inside(x).permute(1, 0, 2)
            mask = nn.Transformer.generate_square_subsequent_mask(len(inner), dtype=x.dtype)
            return self.net.out(self.net.encoder(inner, mask=mask, is_causal=True)[4])

    net = ready(Middle, attention.series(9, 6))
    (found,) = relevance(net, attention.series(9, 6)(2).double())
    assert (found[:, 5:] == 0).all()
    assert (np.abs(found[:, :5]).sum(-1) > 0).all()


# Outputs that are normalised.


def test_a_final_log_softmax_is_left_out():
    class Logits(attention.EEGConformer):
        def forward(self, x):
            x = self.encoder(self.projection(self.shallownet(x.unsqueeze(1))).squeeze(2).permute(0, 2, 1))
            return self.fc(x.flatten(1))

    inputs = attention.series(8, 200)
    net = ready(attention.EEGConformer, inputs)
    plain = Logits().double().eval()
    plain.load_state_dict(net.state_dict())
    x = inputs(2).double()
    a, b = (sx.explain(model, x, target=1, method=PLUS) for model in (net, plain))
    close(a.relevance.values, b.relevance.values)
    close(a.score.values, plain(x)[:, 1].detach().numpy())


def test_the_contrast_of_two_actions_knows_no_normalisation():
    """log p_a - log p_b = z_a - z_b: what the policy's distribution subtracts from both cancels."""
    policy = agents.ppo_policy().eval()
    with torch.no_grad():
        policy.action_net.weight.normal_()  # as large as after training

    def action_values(observation):
        latent, _ = policy.mlp_extractor(policy.extract_features(observation))
        return policy.action_net(latent)

    x = attention.series(6)(3)
    (want,) = relevance(action_values, x, target=sx.Contrast(2, 0))
    (got,) = relevance(agents.action_logits(policy), x, target=sx.Contrast(2, 0), output="as_is")
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())


def test_a_reading_of_the_power_spectrum_by_hand():
    """Half the gradient of sum_k v_k |X_k|^2 / n: of degree 2, so that relevance adds up to the score."""
    net = signals.PowerSpectrum().double()
    x = attention.series(48)(2).double()
    window, v = net.window.numpy(), net.fc.weight[1].detach().numpy()
    seen = x.numpy() * window
    k, t = np.arange(25)[:, None], np.arange(48)
    waves = np.exp(-2j * np.pi * k * t / 48)
    message = np.real((np.conj(seen @ waves.T) * v) @ waves) * window / 48
    (found,) = relevance(net, x, target=1)
    close(found, x.numpy() * message)
    close(found.sum(1), (np.abs(seen @ waves.T) ** 2 @ v) / 48)


def test_dark_pixels_have_no_relevance_and_bytes_keep_their_shape():
    net = built(Case(agents.NatureDQN, agents.frames))
    x = agents.frames(2)
    (found,) = relevance(net, x, method=PLUS, target=1)
    assert found.shape == x.shape
    assert (found[x.numpy() == 0] == 0).all()
    (scaled,) = relevance(net.network, x / 255.0, method=PLUS, target=1)
    np.testing.assert_allclose(found, scaled, rtol=1e-4, atol=1e-5 * np.abs(scaled).max())
