"""Batch norm in eval mode: merged into the linear step before it, else after it where exact, else affine.

The two forms differ under every rule but LRP-0, so a wrong choice shows."""

import pytest
import torch
from torch import nn

import sciexplain as sx
from sciexplain import rules
from tests.lrp.helpers import FEW, check, named
from tests.reference.networks import Builder

RULES = pytest.mark.parametrize("rule", FEW, ids=named)


def conv_norm(b, h, **options):
    return b.batch_norm(b.conv(h, 4, 3, **options))


def norm_conv(b, h, **options):
    return b.conv(b.batch_norm(h), 4, 3, **options)


CASES = {
    "dense-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6))),
    "conv1d-norm": ((2, 9), lambda b: conv_norm(b, "x", padding=1)),
    "conv2d-norm": ((2, 5, 5), lambda b: conv_norm(b, "x", padding=1)),
    "conv2d-without-bias-norm": ((2, 5, 5), lambda b: conv_norm(b, "x", bias=False)),
    "conv2d-grouped-norm": ((2, 5, 5), lambda b: conv_norm(b, "x", groups=2)),
    "conv3d-norm": ((2, 3, 4, 3), lambda b: conv_norm(b, "x", padding=1)),
    "deconv2d-norm": ((3, 4, 4), lambda b: b.batch_norm(b.conv_transpose("x", 2, 3, stride=2))),
    "deconv2d-grouped-norm": ((4, 3, 3), lambda b: b.batch_norm(b.conv_transpose("x", 4, 2, groups=2))),
    "run-time-weight-norm": ((2, 5, 5), lambda b: b.batch_norm(b.conv("x", 4, 3, style="runtime"))),
    "linear-function-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6, style="function"))),
    "run-time-linear-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6, style="runtime"))),
    "addmm-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6, style="addmm"))),
    "x@w-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6, style="matmul", bias=False))),
    "norm-x@w": ((5,), lambda b: b.linear(b.batch_norm("x"), 6, style="matmul", bias=False)),
    "einsum-norm": ((5,), lambda b: b.batch_norm(b.linear("x", 6, style="einsum", bias=False))),
    "norm-einsum": ((5,), lambda b: b.linear(b.batch_norm("x"), 6, style="einsum", bias=False)),
    "norm-run-time-linear": ((5,), lambda b: b.linear(b.batch_norm("x"), 6, style="runtime")),
    "tokens-norm": ((3, 5), lambda b: b.batch_norm(b.linear("x", 6))),
    "norm-tokens": ((3, 5), lambda b: b.linear(b.batch_norm("x"), 6)),
    "norm-deconv2d": ((3, 4, 4), lambda b: b.conv_transpose(b.batch_norm("x"), 2, 3, stride=2)),
    "norm-dense": ((5,), lambda b: b.linear(b.batch_norm("x"), 4)),
    "norm-conv2d": ((3, 5, 5), lambda b: norm_conv(b, "x")),
    "norm-conv2d-without-bias": ((3, 5, 5), lambda b: norm_conv(b, "x", bias=False)),
    "norm-conv2d-strided": ((3, 6, 6), lambda b: norm_conv(b, "x", stride=2)),
    "norm-conv2d-grouped": ((4, 5, 5), lambda b: norm_conv(b, "x", groups=2)),
    "norm-conv2d-zero-padded": ((3, 5, 5), lambda b: norm_conv(b, "x", padding=1)),
    "norm-alone": ((3, 5, 5), lambda b: b.activation(b.batch_norm(b.activation("x", "relu")), "relu")),
}


@RULES
@pytest.mark.parametrize("name", CASES)
def test_merged_before_after_or_affine(name, rule):
    shape, grow = CASES[name]
    b = Builder(shape, seed=7)
    h = b.activation(grow(b), "tanh")
    net, program = b.finish(b.linear(b.flatten(h), 3))
    check(net, program, rule)


@RULES
def test_not_merged_where_somebody_else_sees_the_linear_step(rule):
    b = Builder((2, 5, 5), seed=8)
    h = b.conv("x", 3, 3)
    h = b.add(b.activation(b.batch_norm(h), "relu"), h)
    net, program = b.finish(b.linear(b.flatten(h), 3))
    check(net, program, rule)


@RULES
def test_not_merged_where_somebody_else_sees_the_norm(rule):
    b = Builder((3, 5, 5), seed=9)
    h = b.batch_norm(b.activation("x", "relu"))
    h = b.add(b.conv(h, 3, 1), h)
    net, program = b.finish(b.linear(b.flatten(h), 3))
    check(net, program, rule)


@RULES
def test_a_pre_activation_and_a_post_activation_block(rule):
    b = Builder((2, 6, 6), seed=10)
    h = b.activation(b.batch_norm(b.conv("x", 4, 3, padding=1, bias=False)), "relu", "inplace")
    g = b.conv(b.activation(b.batch_norm(h), "relu"), 4, 3, padding=1)
    h = b.activation(b.add(h, g), "relu")
    net, program = b.finish(b.linear(b.reduce(h, (1, 2)), 3))
    check(net, program, rule)


def test_a_merged_norm_is_seen_by_rules_of_the_input():
    b = Builder((3, 4), seed=11)
    net, program = b.finish(b.conv(b.batch_norm("x"), 2, 2))
    for rule in (rules.ZBox(-4, 4), rules.WSquare(), rules.Flat()):
        check(net, program, rule)


def test_batch_norm_without_running_statistics_mixes_the_batch_and_is_refused():
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, track_running_stats=False)).double().eval()
    with pytest.raises((sx.UnsupportedOperationError, ValueError), match=r"batch.?norm"):
        sx.explain(net, torch.randn(4, 2, 6, dtype=torch.float64), target=0)
