"""What a class or a channel stands for: samples that show it, and inputs made for it."""

from .experts import Denoiser, Gaussian, GaussianMixture
from .figures import figure
from .maximisation import activation_maximisation
from .references import reference_samples

__all__ = [
    "Denoiser",
    "Gaussian",
    "GaussianMixture",
    "activation_maximisation",
    "figure",
    "reference_samples",
]
