"""Several threads explain, train and run models at once, and calls stand within calls."""

import copy
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

import sciexplain as sx

from .eager import ZERO, agrees, conv_net, draw


def together(jobs):
    """Run all jobs at once; the first exception of any is raised."""
    failures, gate = [], threading.Barrier(len(jobs))

    def guarded(job):
        try:
            gate.wait()
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def switches():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        sys.stdout,
        sys.stderr,
    )


@pytest.mark.parametrize("method", ["epsilon_plus", "alpha2_beta1", "gradient_times_input"])
def test_eight_threads_with_the_same_and_different_models_give_what_one_gives(method):
    nets = [conv_net() for _ in range(3)]
    inputs = [draw(n, 2, 8, 8) for n in (2, 5, 1)]
    want = [
        [sx.explain(copy.deepcopy(net), x, target=0, method=method).relevance.values for x in inputs]
        for net in nets
    ]
    before = switches()

    def work(k):
        def job():
            for r in range(4):
                i, j = (k + r) % 3, (k // 3 + r) % 3
                with torch.no_grad() if k % 2 else torch.enable_grad():
                    got = sx.explain(nets[i], inputs[j], target=0, method=method).relevance.values
                    assert torch.is_grad_enabled() == (k % 2 == 0)
                np.testing.assert_allclose(got, want[i][j], rtol=1e-9, atol=1e-12)

        return job

    together([work(k) for k in range(8)])
    assert switches() == before


def test_a_model_runs_and_trains_in_other_threads_while_it_is_recorded():
    net, x = conv_net(), draw(2, 2, 8, 8)
    want = net(x).detach()
    done = threading.Event()

    def explain():
        try:
            for k in range(6):
                net[6].mark = k  # an attribute changes: the model is recorded anew
                sx.explain(net, x, target=0)
        finally:
            done.set()

    def train():
        while not done.is_set():
            net.zero_grad()
            net(x).sum().backward()
            assert type(net[0].weight) is nn.Parameter
            assert net[0].weight.grad is not None

    def use():
        while not done.is_set():
            assert torch.equal(net(x).detach(), want)

    together([explain, train, use, use])


def test_a_target_function_may_explain_again():
    net, other, x = conv_net(), conv_net(), draw(2, 2, 8, 8)
    want = [sx.explain(m, x, target=1, method=ZERO).relevance.values for m in (net, other)]
    got = []

    def target(outputs):
        got.extend(sx.explain(m, x, target=1, method=ZERO).relevance.values for m in (net, other))
        return outputs[:, 0]

    ds = sx.explain(net, x, target=target, method=ZERO)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(ds.relevance.values, agrees(net, x).relevance.values, rtol=1e-9, atol=1e-12)


def test_a_hook_may_explain_another_model():
    net, other, x = conv_net(), conv_net(), draw(2, 2, 8, 8)
    want = sx.explain(other, x, target=1).relevance.values
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(sx.explain(other, x, target=1).relevance.values))
    agrees(net, x)
    net(x)
    assert len(seen) >= 2
    assert all(np.array_equal(s, want) for s in seen)
