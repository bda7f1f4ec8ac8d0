"""LRP as its papers write it (view 1): relevance is handed from layer to layer, one output at a time.

R_j = sum_k share_jk R_k, each share a contribution divided by the sum of all of them. Layers are matrices, so
nothing here knows of convolutions, messages or gradients. One sample at a time, float64.
"""

import numpy as np
from torch import nn

from tests.reference import matrices


def array(tensor):
    return None if tensor is None else tensor.detach().double().numpy()


def matrix(layer, shape):
    """W (output, input), bias (output,) and output shape of a linear layer."""
    if isinstance(layer, nn.Linear):
        W, out = matrices.dense(array(layer.weight), shape)
        return W, None if layer.bias is None else np.tile(array(layer.bias), len(W) // len(layer.bias)), out
    if isinstance(layer, nn.AvgPool2d):
        found, out = matrices.windows(shape, layer.kernel_size)
        return matrices.average(found, int(np.prod(shape))), None, out
    W, out = matrices.conv(array(layer.weight), shape, stride=layer.stride, padding=layer.padding)
    return W, None if layer.bias is None else np.repeat(array(layer.bias), W.shape[0] // out[0]), out


def forward(layers, x):
    """The value that enters each layer, and the output at the end."""
    values = [x]
    for layer in layers:
        a = values[-1]
        if isinstance(layer, nn.ReLU):
            values.append(np.maximum(a, 0))
        elif isinstance(layer, nn.Flatten):
            values.append(a.ravel())
        elif isinstance(layer, nn.MaxPool2d):
            found, out = matrices.windows(a.shape, layer.kernel_size)
            values.append(np.array([a.ravel()[index].max() for index, _ in found]).reshape(out))
        else:
            W, b, out = matrix(layer, a.shape)
            values.append((W @ a.ravel() + (0 if b is None else b)).reshape(out))
    return values


def one_output(rule, a, w, b):
    """Shares of one output among the inputs a, and of its bias; p_j = a_j w_j."""
    name, p = type(rule).__name__, a * w
    if name == "Zero":
        z = p.sum() + b
        return p / z, b / z
    if name == "Epsilon":
        z = p.sum() + b
        z += rule.epsilon if z >= 0 else -rule.epsilon
        return p / z, b / z
    if name == "Gamma":
        sign = 1 if p.sum() + b >= 0 else -1
        p = p + rule.gamma * np.where(sign * p > 0, p, 0)
        b = b + rule.gamma * (b if sign * b > 0 else 0)
        return p / (p.sum() + b), b / (p.sum() + b)
    share = np.zeros_like(p)  # alpha, beta; the bias is left out
    for factor, part in ((rule.alpha, np.maximum(p, 0)), (-rule.beta, np.minimum(p, 0))):
        if factor and part.sum():
            share += factor * part / part.sum()
    return share, 0.0


def hand_back(layer, a, R, rule):
    """Relevance of the inputs a of one layer, from that of its outputs."""
    if isinstance(layer, (nn.ReLU, nn.Flatten)):
        return R.reshape(a.shape)
    back, flat = np.zeros(a.size), a.ravel()
    if isinstance(layer, nn.MaxPool2d):
        found, _ = matrices.windows(a.shape, layer.kernel_size)
        for (index, _), r in zip(found, R.ravel()):
            back[index[flat[index].argmax()]] += r
        return back.reshape(a.shape)
    W, b, _ = matrix(layer, a.shape)
    for k, r in enumerate(R.ravel()):
        if r:
            shares, _ = one_output(rule, flat, W[k], 0.0 if b is None else b[k])
            back += shares * r
    return back.reshape(a.shape)


def relevances(layers, x, R, rule_of, chosen=None):
    """Relevance of the input and of each layer's output, the last one R.

    Parameters
    ----------
    rule_of : layer -> rule
    chosen : dict of position to mask, optional
        Relevance of that layer's output is multiplied by the mask before it is handed on.
    """
    values = forward(layers, x)
    found = [R]
    for position in reversed(range(len(layers))):
        if position in (chosen or {}):
            found[0] = found[0] * chosen[position]
        layer = layers[position]
        found.insert(0, hand_back(layer, values[position], found[0], rule_of(layer)))
    return found
