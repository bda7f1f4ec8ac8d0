"""Decisions on images: every method on three networks, and the numbers that tell good explanations from bad.

`decisions_on_images.py` beside this file is the same as a notebook, with the story told.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import image_networks as networks
import image_parts as parts

from sciexplain.data import DataError
from sciexplain.report import Part, Study


def training(short: bool) -> Part:
    """Train the network for thumbnails anew: what that took, and whether it is the kept one.

    Raises
    ------
    sciexplain.data.DataError
        The pictures cannot be obtained.
    """
    if short:
        return Part(notes={"left out": "a quarter of an hour of processor time, in the long form only"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / networks.KEPT.name
        result = networks.train_thumbnail_net(path, progress=False)
        difference = networks.same_weights(networks.thumbnail_net(path)[0], networks.thumbnail_net()[0])
    return Part(notes={
        "minutes of processor time": result["cpu_minutes"],
        "test accuracy": result["test_accuracy"],
        "largest difference to the kept weights": difference,
    })  # fmt: skip


PARTS = {
    "training": ("Training", training),
    "digits": ("Digits", parts.digits),
    "thumbnails": ("Thumbnails", parts.thumbnails),
    "photos": ("Photos", parts.photos),
    "photo_mosaics": ("Mosaics of photos", parts.photo_mosaics),
    "context": ("Two networks and context", parts.context),
    "prototypes": ("Prototypes", parts.prototypes),
}

STUDY = Study(
    "Decisions on images",
    "every method on three networks",
    PARTS,
    Path(__file__).resolve().parent,
    left_out=DataError,
    digits=3,
)


def main(short: bool, output: Path, names: tuple[str, ...] = tuple(PARTS)) -> Path:
    """Run the parts, write tables (CSV), figures (PNG) and a page; returns the page.

    Parameters
    ----------
    short : bool
        Few pictures and steps, and the kept checkpoint: minutes. Otherwise more, and a training.
    output : Path
        Folder of the results; parts that are there are not computed again.
    names : tuple of str
        Which parts; those whose pictures cannot be obtained are left out, with the reason.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    return STUDY.page(short, output, names)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    chosen = tuple(name for name in PARTS if name in sys.argv) or tuple(PARTS)
    print(main(short="--long" not in sys.argv, output=Path("reports/decisions_on_images"), names=chosen))
