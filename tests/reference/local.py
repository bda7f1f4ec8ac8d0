"""Operations explained by what they do near this sample: norms with a constant scale, softmax, spread, size.

R_j = x_j sum_k A_kj R_k / y_k, where A is a matrix that the sample decides; what y has beyond A x is kept.

    Frozen   A is the linear map that is left when the scale is a constant of the sample (Ali et al. 2022)
    Local    A is the derivative, over the degree of a homogeneous function; degree 1 for softmax and its kin
             (first-order Taylor, Achtibat et al. 2024)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.reference.matrices import from_function
from tests.reference.program import Step, condition_of


def jacobian(f, arrays, which):
    """d f / d arrays[which], (output, input), by a step along the imaginary axis: exact to rounding."""
    columns = []
    for unit in np.eye(arrays[which].size):
        moved = [a.astype(complex) for a in arrays]
        moved[which] = moved[which] + 1e-30j * unit.reshape(arrays[which].shape)
        with np.errstate(divide="ignore", invalid="ignore"):  # the length of nothing has no derivative
            columns.append(np.imag(f(*moved)).ravel() / 1e-30)
    return np.nan_to_num(np.stack(columns, axis=1), nan=0.0, posinf=0.0, neginf=0.0)


@dataclass
class Local(Step):
    """out = f(*sources), by its derivative over `degree`."""

    f: Callable = None
    degree: float = 1.0
    condition: float = np.inf

    def forward(self, *arrays):
        return np.real(self.f(*arrays))

    def matrices(self, arrays):
        return [jacobian(self.f, arrays, i) / self.degree for i in range(len(arrays))]

    def relevance(self, arrays, out, R):
        share = np.divide(R, out, out=np.zeros_like(R), where=out != 0).ravel()
        given, rest, whole = [], out.ravel(), 0
        for a, A in zip(arrays, self.matrices(arrays)):
            a = np.where(np.isfinite(a), a, 0)  # a mask of -inf: no softmax looks at it
            given.append(a * (share @ A).reshape(a.shape))
            rest = rest - A @ a.ravel()
            whole = whole + np.abs(A) @ np.abs(a).ravel()
        self.condition = condition_of(out.ravel(), whole + np.abs(rest))
        return given


@dataclass
class Softmax(Local):
    """Softmax along an axis."""

    axis: int = -1

    def __post_init__(self):
        self.f = lambda x: softmax(x, self.axis)


@dataclass
class Frozen(Local):
    """out = f(v, x) + b at v = x, where f is linear in v; x is only looked at for its scale."""

    b: np.ndarray | float = field(default=0.0, repr=False)

    def forward(self, x):
        return self.f(x, x) + self.b

    def matrices(self, arrays):
        (x,) = arrays
        return [from_function(lambda v: self.f(v, x), x.shape)[0]]


def logsumexp(x, axis, keepdims=False):
    top = np.real(x).max(axis=axis, keepdims=True)
    out = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return out if keepdims else out.squeeze(axis)


def softmax(x, axis):
    return np.exp(x - logsumexp(x, axis, keepdims=True))


def log_softmax(x, axis):
    return x - logsumexp(x, axis, keepdims=True)


def variance(x, axis, *, correction=1, keepdims=False):
    n = np.prod([x.shape[a] for a in np.atleast_1d(axis)])
    centred = x - x.mean(axis=axis, keepdims=True)
    return (centred**2).sum(axis=axis, keepdims=keepdims) / (n - correction)


def length(x, axis, keepdims=False):
    return np.sqrt((x**2).sum(axis=axis, keepdims=keepdims))


def distances(a, b):
    """a (..., n, d), b (..., m, d) -> (..., n, m)"""
    return np.sqrt(((a[..., :, None, :] - b[..., None, :, :]) ** 2).sum(axis=-1))


def normalised(axes, *, eps, weight=1.0, centred=True, groups=None):
    """f(v, x) of a norm over `axes`: (v less its mean) weight / root of the mean square of (x less its mean).

    groups: the first axis is cut into that many, each normalised with all of its positions.
    """

    def f(v, x):
        shape = v.shape
        if groups:
            v, x = (a.reshape(groups, -1) for a in (v, x))
        over = (1,) if groups else axes
        if centred:
            v, x = (a - a.mean(axis=over, keepdims=True) for a in (v, x))
        return (v / np.sqrt((x**2).mean(axis=over, keepdims=True) + eps)).reshape(shape) * weight

    return f
