"""The parts of the study: each returns its tables and figures, which the notebook and the page show."""

from __future__ import annotations

from typing import Any

import image_figures as figures
import image_measures as measures
import image_mosaics as mosaics
import image_networks as networks
import numpy as np
import pandas as pd
import torch
import xarray as xr
from image_methods import LECTURE, chance, methods

import sciexplain as sx
from sciexplain.report import Part

GREY = np.zeros((1, 3, 224, 224), np.float32)
"""Expected gradients of photos start here; with one background they are integrated gradients, drawn."""


def digits(short: bool) -> Part:
    """MNIST: every method, the lecture's comparison, continuity along a sliding digit, selectivity."""
    net, about = networks.digit_net()
    train = networks.digit_input(sx.images.mnist("train"))
    held_out = networks.digit_input(sx.images.mnist("test"))
    chosen = every(held_out, 2 if short else 10)
    known = methods(0.0, 1.0, train.values[::40], 4, 16 if short else 64)
    found = measures.explained(net, chosen, known)
    part = Part(notes=about)
    part.tables["does it add up"] = measures.additivity(found)
    part.figures["the lecture's comparison"] = figures.grid(
        {name: found[name] for name in LECTURE}, [0, 1, 2, 3, 5], step=len(chosen) // 10
    )
    path = measures.sliding(every(held_out, 1 if short else 5), 4)
    part.tables["continuity"] = measures.continuity(net, path, known)
    patches = sx.images.patches(chosen, 4)
    part.tables["selectivity"], curves = measures.selectivity(net, chosen, found, patches, "constant")
    part.figures["selectivity"] = figures.curves(curves)
    labels = chosen["label"].values.tolist()
    part.tables["in one table"] = measures.one_table(net, chosen, known, labels, patches, "constant")
    return part


def thumbnails(short: bool) -> Part:
    """CIFAR-10: every method, continuity, selectivity.

    Raises
    ------
    sciexplain.data.DataError
        The pictures cannot be obtained: only a mirror has them.
    """
    held_out = networks.thumbnail_input(sx.images.cifar10("test", 100 if short else None))
    net, about = networks.thumbnail_net()
    right = sx.models.accuracy(net, held_out.values, held_out["label"].values, batch_size=250)
    part = Part(notes={**about, "accuracy": right, "pictures": len(held_out)})
    chosen = every(held_out, 2 if short else 10)
    background = networks.thumbnail_input(sx.images.cifar10("train", 10)).values
    known = methods(-1.0, 1.0, background, 4, 16 if short else 64)
    found = measures.explained(net, chosen, known)
    part.tables["does it add up"] = measures.additivity(found)
    part.figures["every method"] = figures.grid(found, [0, 1, 4, 5, 7, 8], step=len(chosen) // 10)
    path = measures.sliding(every(held_out, 1 if short else 5), 3)
    part.tables["continuity"] = measures.continuity(net, path, known)
    patches = sx.images.patches(chosen, 4)
    part.tables["selectivity"], curves = measures.selectivity(
        net, chosen, found, patches, sx.imputers.Blur(4.0), 16
    )
    part.figures["selectivity"] = figures.curves(curves)
    return part


def photos(short: bool) -> Part:
    """EfficientNet-Lite0 on the labelled photos: how many are right, every method, selectivity."""
    net = networks.photo_net()
    pictures, labels = sx.images.imagenet_photos()
    x = networks.PHOTOS(pictures).transpose(*sx.images.NCHW)
    with torch.no_grad():
        best = net(torch.from_numpy(np.ascontiguousarray(x.values))).argmax(1).numpy()
    part = Part(notes={"right": int((best == labels).sum()), "photos": len(labels)})
    chosen = x.isel(sample=slice(0, 3 if short else None))
    known = large_network_methods(short, 32)
    found = measures.explained(net, chosen, known)
    part.tables["does it add up"] = measures.additivity(found)
    part.figures["every method"] = figures.grid(found, [0, 1, 2] if short else [4, 9, 13, 16, 17])
    patches = sx.images.patches(chosen, 32)
    part.tables["selectivity"], curves = measures.selectivity(
        net, chosen, found, patches, sx.imputers.Blur(16.0), 7
    )
    part.figures["selectivity"] = figures.curves(curves)
    return part


def photo_mosaics(short: bool) -> Part:
    """Four photos in one: does relevance for the predicted class lie in its photo?"""
    net = networks.photo_net()
    pictures, labels = sx.images.imagenet_photos()
    pixels, tiles = mosaics.photo_mosaics(list(pictures), labels, 12 if short else 100)
    x = xr.DataArray(networks.photo_input(pixels), dims=sx.images.NCHW)
    best = sx.models.predict(net, x.values, batch_size=16)
    usable = (tiles == best[:, None]).any(1)  # of the others nobody knows where the evidence is
    chosen = np.flatnonzero(usable)[: 4 if short else 30]
    x = x.isel(sample=chosen)
    mask = mosaics.tile_mask((tiles[chosen] == best[chosen, None]).argmax(1))
    known = large_network_methods(short, 28)
    found = measures.explained(net, x, known)
    part = Part(
        notes={"drawn": len(pixels), "predicted as one of the four": int(usable.sum()), "used": len(chosen)}
    )
    part.tables["localisation"] = measures.localisation(found | {"chance": chance(x)}, mask)
    part.figures["mosaics"] = figures.grid(found, list(range(min(4, len(chosen)))), regions=mask)
    return part


def context(short: bool) -> Part:
    """Two networks on the same pictures: one learned where the surround tells nothing, one where it does.

    Raises
    ------
    sciexplain.data.DataError
        As for `thumbnails`.
    """
    many = 200 if short else 1000
    recipe = networks.SURROUNDED_SHORT if short else networks.SURROUNDED
    pictures = sx.images.cifar10("train", many)
    tests = {
        "surround of another class": mosaics.surrounded(sx.images.cifar10("test", 100), 0.0, seed=1),
        "surround of the same class": mosaics.surrounded(sx.images.cifar10("test", 100), 1.0, seed=1),
    }
    part = Part()
    rows, ratios, examples = {}, {}, {}
    for name, same in (("learned without context", 0.1), ("learned with context", 0.9)):
        net = sx.models.ThumbnailNet(width=16, seed=0)
        minutes = networks.train(net, mosaics.surrounded(pictures, same), recipe)
        rows[name] = {"CPU minutes": minutes} | {
            kind: sx.models.accuracy(net, x.values, x["label"].values) for kind, x in tests.items()
        }
        x = every(tests["surround of another class"], 5 if short else 20)
        known = methods(
            -1.0, 1.0, networks.thumbnail_input(pictures[:: many // 2]).values, 4, 16 if short else 64
        )
        found = measures.explained(net, x, known, target=x["label"].values.tolist())
        ratios[name] = measures.localisation(found | {"chance": chance(x)}, mosaics.middle_mask())
        examples[name] = found["LRP epsilon-plus"]
    part.tables["accuracy"] = pd.DataFrame(rows).T.rename_axis("network")
    part.tables["inside and outside"] = pd.concat(ratios, names=["network"])
    part.figures["relevance for the class in the middle"] = figures.grid(
        examples, [0, 1, 2, 3, 4], step=5 if short else 20, regions=mosaics.middle_mask()
    )
    return part


def prototypes(short: bool) -> Part:
    """What classes stand for: pictures that score highest, and pictures made to score high.

    Raises
    ------
    sciexplain.data.DataError
        As for `thumbnails`.
    """
    part = Part()
    net, _ = networks.thumbnail_net()
    pictures = networks.thumbnail_input(sx.images.cifar10("test", 100 if short else None))
    classes = [1, 5, 8] if short else [0, 1, 5, 7, 8]
    best = sx.reference_samples(net, pictures, channels=classes, n=4, batch_size=250)
    made = {
        "plain": sx.activation_maximisation(
            net, classes, (3, 32, 32), domain=(-1, 1), steps=60 if short else 200
        ),
        "smooth and moved": sx.activation_maximisation(
            net,
            classes,
            (3, 32, 32),
            domain=(-1, 1),
            total_variation=0.02,
            jitter=3,
            rotate=8.0,
            scale=(0.9, 1.1),
            steps=60 if short else 200,
        ),
    }
    names = [networks.CIFAR10_CLASSES[number] for number in classes]
    part.figures["thumbnails"] = figures.prototypes(best, made, names)
    part.tables["thumbnails: scores"] = _scores(best, made, names)
    if not short:
        large = networks.photo_net()
        photographs, labels = sx.images.imagenet_photos()
        x = networks.PHOTOS(photographs).transpose(*sx.images.NCHW)
        numbers = [4, 13, 16]  # strawberry, cannon, dalmatian
        wanted = [int(labels[number]) for number in numbers]
        best = sx.reference_samples(large, x, channels=wanted, n=4, batch_size=10)
        settings = {"domain": (-1, 1), "steps": 120, "start": (3, 224, 224), "batch_size": 1}
        made = {
            "plain": sx.activation_maximisation(large, wanted, **settings),
            "smooth and moved": sx.activation_maximisation(
                large, wanted, total_variation=2e-4, jitter=16, rotate=8.0, scale=(0.9, 1.1), **settings
            ),
        }
        names = [photographs.labels[number] for number in numbers]
        part.figures["photos"] = figures.prototypes(best, made, names)
        part.tables["photos: scores"] = _scores(best, made, names)
    return part


def _scores(best: xr.Dataset, made: dict[str, xr.Dataset], names: list[str]) -> pd.DataFrame:
    columns = {"best picture": best["score"].values[:, 0]}
    columns |= {f"made, {kind}": ds["score"].values[:, 0] for kind, ds in made.items()}
    return pd.DataFrame(columns, index=pd.Index(names, name="class"))


def large_network_methods(short: bool, size: int) -> dict[str, Any]:
    """Every method; in the short form without simple Taylor, whose root search takes 9 seconds a photo."""
    known = methods(-1.0, 1.0, GREY, 56 if short else size, 8 if short else 32)
    if short:
        del known["simple Taylor"]
    return known


def every(inputs: xr.DataArray, per_class: int) -> xr.DataArray:
    """The first pictures of each class, class after class."""
    labels = inputs["label"].values
    rows = np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)])
    return inputs.isel(sample=rows)
