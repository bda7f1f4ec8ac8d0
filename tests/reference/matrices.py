"""Linear layers as matrices W (output, input), built position by position in NumPy."""

from itertools import product

import numpy as np


def _each(value, n):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def conv(weight, in_shape, *, stride=1, padding=0, dilation=1, groups=1):
    """Matrix of a convolution of any number of spatial dimensions.

    weight (out_channels, in_channels / groups, *kernel), in_shape (in_channels, *space); padding is zeros.
    Returns W (prod(out_shape), prod(in_shape)) and out_shape. Padding is no input: it has no column.
    """
    weight = np.asarray(weight, dtype=np.float64)
    kernel, space = weight.shape[2:], in_shape[1:]
    n = len(space)
    stride, padding, dilation = _each(stride, n), _each(padding, n), _each(dilation, n)
    out_space = tuple(
        (s + 2 * p - d * (k - 1) - 1) // st + 1
        for s, p, d, k, st in zip(space, padding, dilation, kernel, stride)
    )
    W = np.zeros((weight.shape[0], *out_space, *in_shape))
    per_out, per_in = weight.shape[0] // groups, weight.shape[1]
    for at in np.ndindex(*out_space):
        for tap in np.ndindex(*kernel):
            source = tuple(o * st - p + t * d for o, st, p, t, d in zip(at, stride, padding, tap, dilation))
            if any(i < 0 or i >= s for i, s in zip(source, space)):
                continue
            for g in range(groups):
                rows, cols = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
                W[(rows, *at, cols, *source)] = weight[(rows, slice(None), *tap)]
    out_shape = (weight.shape[0], *out_space)
    return W.reshape(int(np.prod(out_shape)), -1), out_shape


def conv_transpose(weight, in_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Matrix of a transposed convolution; weight (in_channels, out_channels / groups, *kernel)."""
    weight = np.asarray(weight, dtype=np.float64)
    kernel, space = weight.shape[2:], in_shape[1:]
    n = len(space)
    stride, padding, dilation = _each(stride, n), _each(padding, n), _each(dilation, n)
    extra = _each(output_padding, n)
    out_space = tuple(
        (s - 1) * st - 2 * p + d * (k - 1) + e + 1
        for s, st, p, d, k, e in zip(space, stride, padding, dilation, kernel, extra)
    )
    per_in, per_out = weight.shape[0] // groups, weight.shape[1]
    out_shape = (per_out * groups, *out_space)
    W = np.zeros((*out_shape, *in_shape))
    for at in np.ndindex(*space):
        for tap in np.ndindex(*kernel):
            to = tuple(i * st - p + t * d for i, st, p, t, d in zip(at, stride, padding, tap, dilation))
            if any(o < 0 or o >= s for o, s in zip(to, out_space)):
                continue
            for g in range(groups):
                rows, cols = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
                W[(rows, *to, cols, *at)] += weight[(cols, slice(None), *tap)].T
    return W.reshape(int(np.prod(out_shape)), -1), out_shape


def dense(weight, in_shape):
    """Matrix of y = x weight^T along the last dimension; weight (out_features, in_features)."""
    weight = np.asarray(weight, dtype=np.float64)
    rows = int(np.prod(in_shape[:-1], dtype=int))
    return np.kron(np.eye(rows), weight), (*in_shape[:-1], weight.shape[0])


def from_function(f, in_shape):
    """Matrix of any linear f, from its values at the unit vectors."""
    n = int(np.prod(in_shape))
    columns = [np.asarray(f(unit.reshape(in_shape)), dtype=np.float64) for unit in np.eye(n)]
    return np.stack([c.ravel() for c in columns], axis=1), columns[0].shape


def windows(in_shape, kernel, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    """For each output position of a pooling: flat input indices, and the number of places, padding included.

    Returns a list of (indices, places) in output order, and out_shape. A ceil-mode window that would start in
    the padding to the right is dropped, and places past the padding do not count (as in torch).
    """
    channels, space = in_shape[0], in_shape[1:]
    n = len(space)
    kernel = _each(kernel, n)
    stride = kernel if stride is None else _each(stride, n)
    padding, dilation = _each(padding, n), _each(dilation, n)
    out_space = []
    for s, k, st, p, d in zip(space, kernel, stride, padding, dilation):
        room = s + 2 * p - d * (k - 1) - 1
        size = (-(-room // st) if ceil_mode else room // st) + 1
        if ceil_mode and (size - 1) * st >= s + p:
            size -= 1
        out_space.append(size)
    flat = np.arange(int(np.prod(in_shape))).reshape(in_shape)
    found = []
    for c in range(channels):
        for at in np.ndindex(*out_space):
            axes, places = [], 1
            for o, s, k, st, p, d in zip(at, space, kernel, stride, padding, dilation):
                taps = [o * st - p + t * d for t in range(k)]
                places *= sum(t < s + p for t in taps)
                axes.append([t for t in taps if 0 <= t < s])
            found.append((np.array([flat[(c, *i)] for i in product(*axes)], dtype=int), places))
    return found, (channels, *out_space)


def adaptive_windows(in_shape, out_space):
    """Windows of an adaptive pooling: from floor(i n / m) to ceil((i + 1) n / m)."""
    channels, space = in_shape[0], in_shape[1:]
    out_space = _each(out_space, len(space))
    flat = np.arange(int(np.prod(in_shape))).reshape(in_shape)
    found = []
    for c in range(channels):
        for at in np.ndindex(*out_space):
            axes = [range(o * s // m, -(-(o + 1) * s // m)) for o, s, m in zip(at, space, out_space)]
            index = np.array([flat[(c, *i)] for i in product(*axes)], dtype=int)
            found.append((index, len(index)))
    return found, (channels, *out_space)


def average(found, n_inputs, *, divide_by_places=True):
    """Matrix that averages each window; divide_by_places counts the padding, otherwise only real inputs."""
    W = np.zeros((len(found), n_inputs))
    for row, (index, places) in enumerate(found):
        W[row, index] = 1.0 / (places if divide_by_places else len(index))
    return W
