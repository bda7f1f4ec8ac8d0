"""EEG and spectra: filters in the frequency domain, weights that are computed when the network runs.

Shallow net with its two linear convolutions combined into one (Schirrmeister et al. 2017), EEGNet's max-norm
constraint (Lawhern et al. 2018), learned filter banks by FFT, spectrogram networks, a 1-D autoencoder.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.attention import series
from tests.zoo.checks import Case


class FilterBank(nn.Module):
    """Each band is a complex gain per frequency; the log power of what passes is classified."""

    def __init__(self, channels=4, samples=64, bands=5, classes=3):
        super().__init__()
        self.samples = samples
        self.gain = nn.Parameter(torch.randn(bands, samples // 2 + 1, dtype=torch.cfloat))
        self.spatial = nn.Parameter(torch.randn(bands, 3, channels) / channels**0.5)
        self.fc = nn.Linear(bands * 3, classes)

    def forward(self, x):  # (batch, channels, samples)
        spectrum = torch.fft.rfft(x, dim=-1)
        filtered = torch.fft.irfft(spectrum[:, None] * self.gain[None, :, None], n=self.samples, dim=-1)
        sources = torch.einsum("bkct,ksc->bkst", filtered, self.spatial)
        power = torch.log(torch.clamp(sources.pow(2).mean(-1), min=1e-6))
        return self.fc(power.flatten(1))


class GaussianFilterBank(nn.Module):
    """Real gains, Gaussian over frequency, of learned centre and width."""

    def __init__(self, channels=4, samples=64, rate=128.0, bands=4, classes=2):
        super().__init__()
        self.register_buffer("frequencies", torch.fft.rfftfreq(samples, 1 / rate))
        self.center = nn.Parameter(torch.linspace(8.0, 30.0, bands))
        self.spread = nn.Parameter(torch.full((bands,), 3.0))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(bands * channels, classes))

    def forward(self, x):
        gain = torch.exp(-(((self.frequencies - self.center[:, None]) / self.spread[:, None]) ** 2))
        spectrum = torch.fft.rfft(x, norm="ortho").unsqueeze(1)
        bands = torch.fft.irfft(gain[None, :, None, :] * spectrum, n=x.shape[-1], norm="ortho")
        return self.fc(torch.var(bands, dim=-1))


class PowerSpectrum(nn.Module):
    """A linear reading of |FFT|^2, by real and imaginary part."""

    def __init__(self, samples=48, classes=2):
        super().__init__()
        self.register_buffer("window", torch.hann_window(samples, periodic=False))
        self.fc = nn.Linear(samples // 2 + 1, classes, bias=False)

    def forward(self, x):  # (batch, samples)
        spectrum = torch.fft.rfft(x * self.window)
        return self.fc((spectrum.real**2 + spectrum.imag**2) / x.shape[-1])


class LogSpectrum(nn.Module):
    """The magnitude by .abs(), log1p, then a convolution over frequency."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(2, 6, 5, padding=2), nn.Linear(6, classes)

    def forward(self, x):  # (batch, 2, samples)
        power = torch.fft.rfft(x, dim=-1).abs() ** 2
        return self.fc(F.leaky_relu(self.conv(torch.log1p(power)), 0.1).mean(-1))


class Spectrogram(nn.Module):
    """Short-time Fourier transform inside the network."""

    def __init__(self, classes=3):
        super().__init__()
        self.register_buffer("window", torch.hann_window(16))
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, classes)

    def forward(self, x):  # (batch, samples)
        z = torch.stft(
            x, 16, hop_length=8, window=self.window, return_complex=True, center=True, pad_mode="constant"
        )
        x = torch.view_as_real(z).pow(2).sum(-1).unsqueeze(1)
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))


class CombinedShallow(nn.Module):
    """Temporal and spatial convolution as one: weight and bias are products, computed in every forward."""

    def __init__(self, channels=6, samples=120, width=5, classes=3):
        super().__init__()
        self.conv_time = nn.Conv2d(1, width, (11, 1))
        self.conv_spat = nn.Conv2d(width, width, (1, channels), bias=False)
        self.bnorm = nn.BatchNorm2d(width, momentum=0.1)
        self.drop = nn.Dropout()
        self.final = nn.Conv2d(width, classes, ((samples - 10 - 30) // 6 + 1, 1))

    def combined(self, x):
        time, spat = self.conv_time.weight, self.conv_spat.weight
        weight = torch.einsum("ut,sue->ste", time.squeeze(3).squeeze(1), spat.squeeze(2)).unsqueeze(1)
        bias = self.conv_spat.weight.squeeze().sum(-1) @ self.conv_time.bias
        return F.conv2d(x, weight=weight, bias=bias)

    def forward(self, x):  # (batch, channels, samples)
        x = self.combined(x.unsqueeze(1).permute(0, 1, 3, 2))
        x = self.bnorm(x)
        x = F.avg_pool2d(x * x, (30, 1), (6, 1))
        x = self.final(self.drop(torch.log(torch.clamp(x, min=1e-6))))
        return x.squeeze(3).squeeze(2)


class MaxNormConv2d(nn.Conv2d):
    def __init__(self, *args, max_norm=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.max_norm = max_norm

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=self.max_norm)
        return super().forward(x)


class ParametrizedMaxNorm(nn.Module):
    def forward(self, weight):
        return weight.renorm(p=2, dim=0, maxnorm=0.5)


class MaxNormEEGNet(nn.Module):
    """Spatial filters kept in a ball by renorm in forward, the last layer by a parametrization."""

    def __init__(self, channels=6, samples=96, classes=4, *, in_forward=True):
        super().__init__()
        self.temporal = nn.Conv2d(1, 4, (1, 16), padding=(0, 8), bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.spatial = (MaxNormConv2d if in_forward else nn.Conv2d)(4, 8, (channels, 1), groups=4, bias=False)
        self.bn2, self.bn3 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, (1, 9), padding="same", groups=8, bias=False)
        self.point = nn.Conv2d(8, 8, 1, bias=False)
        self.fc = nn.Linear(8 * (samples // 32), classes)
        nn.utils.parametrize.register_parametrization(self.fc, "weight", ParametrizedMaxNorm())

    def forward(self, x):
        x = self.bn1(self.temporal(x[:, None]))
        x = F.dropout(F.avg_pool2d(F.elu(self.bn2(self.spatial(x))), (1, 4)), 0.25, self.training)
        x = F.avg_pool2d(F.elu_(self.bn3(self.point(self.depth(x)))), (1, 8))
        return self.fc(x.flatten(start_dim=1))


class Autoencoder(nn.Module):
    """1-D, instance norm, reflection padding, a transposed convolution and nearest interpolation back."""

    def __init__(self, channels=3, width=6):
        super().__init__()
        self.pad, self.down1 = nn.ReflectionPad1d(2), nn.Conv1d(channels, width, 5, 2)
        self.norm = nn.InstanceNorm1d(width, affine=True)
        self.down2 = nn.Conv1d(width, width, 4, 2, 1)
        self.group = nn.GroupNorm(2, width)
        self.up = nn.ConvTranspose1d(width, width, 4, 2, 1)
        self.out = nn.Conv1d(width, channels, 3, padding=1)

    def forward(self, x):  # (batch, channels, samples)
        h = F.mish(self.norm(self.down1(self.pad(x))))
        h = F.gelu(self.group(self.down2(h)))
        h = F.interpolate(F.silu(self.up(h)), scale_factor=2.0, mode="nearest")
        return self.out(h)


def first_channel(outputs):
    return outputs[:, 0].sum(dim=1)


CASES = {
    "filter bank, complex gains": Case(FilterBank, series(4, 64)),
    "filter bank, Gaussian gains": Case(GaussianFilterBank, series(4, 64)),
    "power spectrum": Case(PowerSpectrum, series(48)),
    "log spectrum": Case(LogSpectrum, series(2, 40)),
    "spectrogram": Case(Spectrogram, series(64)),
    "combined convolution": Case(CombinedShallow, series(6, 120)),
    "max-norm in forward": Case(MaxNormEEGNet, series(6, 96)),
    "max-norm parametrized": Case(lambda: MaxNormEEGNet(in_forward=False), series(6, 96)),
    "autoencoder": Case(Autoencoder, series(3, 33), options={"target": first_channel}),
}
