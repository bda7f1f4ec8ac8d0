"""The figures and numbers of docs/images.md: real photos, a network trained on ImageNet."""

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

import sciexplain as sx

matplotlib.use("Agg")
PICTURES = Path(__file__).parent.parent / "pictures"
PREPARE = sx.images.Preprocess(
    (
        sx.images.CenterCrop(0.875),
        sx.images.Resize((224, 224), "bicubic"),
        sx.images.Normalize((127 / 255,) * 3, (128 / 255,) * 3),
    )
)


def main() -> None:
    """Print the numbers of the page, and write its figures."""
    (weights,) = sx.data.fetch("efficientnet_lite0").values()
    network = sx.models.load_efficientnet_lite0(weights)
    photos, _ = sx.images.imagenet_photos()
    photos = sx.images.Pictures.of([photos[k : k + 1] for k in (0, 4, 16, 10)])
    x = sx.images.load(photos, PREPARE)

    results = {
        "LRP epsilon plus": sx.images.explain(network, x, "predicted", sx.LRP("epsilon_plus")),
        "gradient x input": sx.images.explain(network, x, "predicted", "gradient_times_input"),
        "sensitivity": sx.images.explain(network, x, "predicted", "sensitivity"),
    }
    ds = results["LRP epsilon plus"]
    print(ds[["picture", "original_rows", "row_start", "row_step"]].to_dataframe().to_string())

    drum = sx.images.on_original(ds, sample=3)
    total = ds.relevance.sel(sample=3).sum(dtype=np.float64)
    print(f"\ndrum: {drum.sizes['row']} x {drum.sizes['column']}, relevance {drum.sum().item():.6f} there, "
          f"{total.item():.6f} on the network's pixels")  # fmt: skip

    superpixels = sx.images.superpixels(ds, n=60)
    pooled = sx.images.pool(ds, superpixels).sum("color")
    off = np.abs(pooled.sum("region") / ds.relevance.astype(float).sum(["row", "column", "color"]) - 1)
    print(f"sum over superpixels / sum over pixels - 1: at most {off.max().item():.1e}")
    conserved = pooled.sum("region") + ds.absorbed.sum("operation") - ds.score
    print(f"regions + absorbed - score, of scores around 10: at most {np.abs(conserved).max().item():.1e}")

    ones = ds.relevance.sum("color", dtype=np.float64) * 0 + 1
    per_pixel = pooled / sx.images.pool(ones, superpixels)
    dog = pooled.sel(sample=0)
    sizes = [int((superpixels[0] == found.argmax("region")).sum()) for found in (dog, per_pixel[0])]
    print(f"dog: the superpixel with the largest sum has {sizes[0]} pixels, with the largest mean {sizes[1]}")

    head = [
        {"head": (200, 140, 370, 290)},
        {"berry": (30, 200, 155, 312)},
        {"head": (60, 150, 450, 370)},
        {"rod": (270, 455, 640, 535)},
    ]
    boxes = sx.images.boxes(head, ds, original=True)
    inside = sx.images.pool(ds, boxes).sum("color")
    area = sx.images.pool(ones, boxes) / ones[0].size
    for k in range(4):
        name = next(iter(head[k]))
        share = inside[k].sel(region=name) / inside[k].sum("region")
        print(f"{photos.labels[k]}: {share.item():.0%} of the relevance in the box on the {name}, "
              f"{area[k].sel(region=name).item():.0%} of the pixels")  # fmt: skip

    figures = {
        "grid": sx.images.plot_grid(results, samples=[0, 1, 3]),
        "overlay": sx.images.plot_overlay(ds, photos),
        "superpixels": sx.images.plot_regions(ds, superpixels, pooled),
        "boxes": sx.images.plot_overlay(ds, samples=[0, 3], regions=boxes),
    }
    for name, figure in figures.items():
        buffer = BytesIO()
        figure.savefig(buffer, dpi=72)
        drawn = Image.open(buffer).convert("RGB")  # in 256 colours: half the bytes
        drawn.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            PICTURES / f"images_{name}.png", optimize=True
        )


if __name__ == "__main__":
    main()
