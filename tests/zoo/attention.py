"""Transformers for images, text and EEG, with attention in four spellings.

ViT (Dosovitskiy et al. 2021), the encoder of Vaswani et al. 2017, EEG Conformer (Song et al. 2023), Conformer
(Gulati et al. 2020).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.checks import Case
from tests.zoo.convolutional import images


class ModuleBlock(nn.Module):
    """Attention by nn.MultiheadAttention."""

    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        y = self.ln_1(x)
        y, _ = self.self_attention(y, y, y, need_weights=False)
        x = x + y
        return x + self.mlp(self.ln_2(x))


class WrittenBlock(nn.Module):
    """One matrix for queries, keys and values; layer scale."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.drop = nn.Dropout(0.1)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.ls1, self.ls2 = nn.Parameter(0.5 * torch.ones(width)), nn.Parameter(0.5 * torch.ones(width))

    def attend(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((self.drop(weights) @ v).transpose(1, 2).reshape(B, N, C))

    def forward(self, x):
        x = x + self.ls1 * self.attend(self.norm1(x))
        return x + self.ls2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, block, size=16, patch=4, width=16, heads=4, depth=2, classes=5):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embedding = nn.Parameter(0.1 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.layers = nn.Sequential(*(block(width, heads) for _ in range(depth)))
        self.ln, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.ln(self.layers(x + self.pos_embedding))
        return self.head(x[:, 0])


class PositionalEncoding(nn.Module):
    def __init__(self, width, longest=64):
        super().__init__()
        position = torch.arange(longest).unsqueeze(1)
        angle = position * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(longest, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(angle), torch.cos(angle)
        self.register_buffer("pe", table.unsqueeze(0))

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class TextEncoder(nn.Module):
    """nn.TransformerEncoder over words; where a word is 0 there is none."""

    def __init__(self, words=50, width=16, classes=3, *, norm_first=False):
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.position = PositionalEncoding(width)
        layer = nn.TransformerEncoderLayer(
            width,
            4,
            32,
            dropout=0.1,
            activation="gelu" if norm_first else "relu",
            batch_first=True,
            norm_first=norm_first,
        )
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.fc = nn.Linear(width, classes)

    def forward(self, words):
        empty = words == 0
        x = self.position(self.embedding(words) * math.sqrt(self.width))
        x = self.encoder(x, src_key_padding_mask=empty)
        x = x.masked_fill(empty.unsqueeze(-1), 0.0)
        return self.fc(x.sum(1) / (~empty).sum(1, keepdim=True))


class SeriesTransformer(nn.Module):
    """Time first, causal mask, sensor readings as tokens."""

    def __init__(self, channels=6, width=16):
        super().__init__()
        self.inside = nn.Linear(channels, width)
        layer = nn.TransformerEncoderLayer(d_model=width, nhead=2, dim_feedforward=32)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 2)

    def forward(self, x):  # (batch, time, channels)
        x = self.inside(x).permute(1, 0, 2)
        mask = nn.Transformer.generate_square_subsequent_mask(len(x), dtype=x.dtype)
        return self.out(self.encoder(x, mask=mask)[-1])


class EinsumAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.projection = nn.Linear(width, width)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x):
        q, k, v = self.split(self.queries(x)), self.split(self.keys(x)), self.split(self.values(x))
        energy = torch.einsum("bhqd, bhkd -> bhqk", q, k)
        weights = F.softmax(energy / x.shape[-1] ** 0.5, dim=-1)
        out = torch.einsum("bhal, bhlv -> bhav ", weights, v)
        return self.projection(out.permute(0, 2, 1, 3).flatten(2))


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.fn = inner

    def forward(self, x, **options):
        rest = x
        x = self.fn(x, **options)
        x += rest
        return x


class EEGConformer(nn.Module):
    """Temporal and spatial convolution, pooling, then attention over time; log-probabilities come out."""

    def __init__(self, channels=8, samples=200, width=10, classes=4):
        super().__init__()
        self.shallownet = nn.Sequential(
            nn.Conv2d(1, width, (1, 25), (1, 1)),
            nn.Conv2d(width, width, (channels, 1), (1, 1)),
            nn.BatchNorm2d(width),
            nn.ELU(),
            nn.AvgPool2d((1, 75), (1, 15)),
            nn.Dropout(0.5),
        )
        self.projection = nn.Conv2d(width, width, (1, 1))
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(
                    Residual(nn.Sequential(nn.LayerNorm(width), EinsumAttention(width, 2), nn.Dropout(0.5))),
                    Residual(
                        nn.Sequential(
                            nn.LayerNorm(width),
                            nn.Linear(width, 2 * width),
                            nn.GELU(),
                            nn.Linear(2 * width, width),
                        )
                    ),
                )
                for _ in range(2)
            )
        )
        tokens = (samples - 24 - 75) // 15 + 1
        self.fc = nn.Sequential(
            nn.Linear(width * tokens, 32), nn.ELU(), nn.Dropout(0.3), nn.Linear(32, classes)
        )

    def forward(self, x):  # (batch, channels, samples)
        x = self.projection(self.shallownet(x.unsqueeze(1)))
        x = self.encoder(x.squeeze(2).permute(0, 2, 1))
        return F.log_softmax(self.fc(x.contiguous().view(x.size(0), -1)), dim=1)


class ConvolutionModule(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.point1, self.glu = nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=1)
        self.depth = nn.Conv1d(width, width, 7, padding="same", groups=width)
        self.bn, self.act, self.point2 = nn.BatchNorm1d(width), nn.SiLU(), nn.Conv1d(width, width, 1)

    def forward(self, x):
        x = self.glu(self.point1(self.norm(x).transpose(1, 2)))
        return self.point2(self.act(self.bn(self.depth(x)))).transpose(1, 2)


class Conformer(nn.Module):
    """Half steps of feed-forward around attention and a gated convolution."""

    def __init__(self, channels=6, width=16, classes=3):
        super().__init__()
        self.inside = nn.Conv1d(channels, width, 9, stride=4, padding=4)
        self.first, self.last = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 32), nn.SiLU(), nn.Linear(32, width))
            for _ in range(2)
        )
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4)
        self.convolution = ConvolutionModule(width)
        self.norm2, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):  # (batch, channels, time)
        x = self.inside(x).transpose(1, 2)
        x = x + 0.5 * self.first(x)
        y = self.norm1(x).transpose(0, 1)
        x = x + self.attention(y, y, y)[0].transpose(0, 1)
        x = x + self.convolution(x)
        x = self.norm2(x + 0.5 * self.last(x))
        return self.fc(x.mean(1))


def words(batch, longest=11, many=50):
    """Word numbers from 1; documents of different lengths, filled up with 0."""
    ids = torch.randint(1, many, (batch, longest), generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([longest, longest - 4, longest - 2, 3])[torch.arange(batch) % 4]
    return ids * (torch.arange(longest) < lengths[:, None])


def series(*shape):
    return lambda batch: torch.randn(batch, *shape, generator=torch.Generator().manual_seed(5))


def itself(inputs):
    return inputs


CASES = {
    "ViT, nn.MultiheadAttention": Case(lambda: ViT(ModuleBlock), images(16)),
    "ViT, written out": Case(lambda: ViT(WrittenBlock), images(16)),
    "nn.TransformerEncoder on words": Case(TextEncoder, words, ids=itself),
    "nn.TransformerEncoder, norms first": Case(lambda: TextEncoder(norm_first=True), words, ids=itself),
    "nn.TransformerEncoder, causal, time first": Case(SeriesTransformer, series(9, 6)),
    "EEG Conformer": Case(EEGConformer, series(8, 200), options={"output": "as_is"}),
    "Conformer": Case(Conformer, series(6, 40)),
}
