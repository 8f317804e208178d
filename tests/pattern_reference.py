"""Writes tests/patterns/reference.json: exponents by powerlaw and WeightWatcher that the instrument is compared with.

    PYTHON tests/pattern_reference.py

PYTHON is an interpreter that has weightwatcher (which brings powerlaw), numpy and safetensors; the project itself is
not imported. Weights are drawn from seeds, so that the test draws the same.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent

# name: (shape, seed, degrees of freedom of Student's t, 0 for normal weights)
WEIGHTS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "stem": ((24, 3, 5, 5), 1, 0),
    "conv": ((32, 24, 3, 3), 2, 3),
    "pointwise": ((64, 32, 1, 1), 3, 4),
    "wide": ((40, 160), 4, 3),
    "tall": ((160, 48), 5, 0),
    "square": ((96, 96), 6, 2),
    "head": ((10, 96), 7, 0),
}


def draw(name: str) -> np.ndarray:
    """The weight of a layer in float32."""
    shape, seed, freedom = WEIGHTS[name]
    generator = np.random.default_rng(seed)
    values = generator.standard_t(freedom, shape) if freedom else generator.standard_normal(shape)
    return values.astype(np.float32)


def spectrum(weight: np.ndarray) -> np.ndarray:
    """Squared singular values of a weight read with a row for each output."""
    return np.linalg.svd(weight.reshape(len(weight), -1).astype(np.float64), compute_uv=False) ** 2


def by_powerlaw(values: np.ndarray) -> dict[str, float]:
    """powerlaw's fit; its own bound of α ≤ 3 (from version 2 on) is taken away, since it would refuse most layers."""
    import powerlaw  # pyright: ignore[reportMissingImports] - of the extra `comparison`

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        fit = powerlaw.Fit(values, verbose=False, parameter_ranges={"alpha": [1.0, np.inf]})
    return {"alpha": float(fit.alpha), "xmin": float(fit.xmin), "D": float(fit.D), "n": int((values >= fit.xmin).sum())}


def by_weightwatcher() -> tuple[str, dict[str, Any]]:
    """WeightWatcher's version, and its fit of each layer of one file, with its defaults."""
    with contextlib.redirect_stdout(io.StringIO()):
        import weightwatcher  # pyright: ignore[reportMissingImports] - of the extra `comparison`
        from safetensors.numpy import save_file

        logging.disable(logging.CRITICAL)
        with tempfile.TemporaryDirectory() as folder:
            save_file({f"{name}.weight": draw(name) for name in WEIGHTS}, Path(folder) / "model.safetensors")
            details = weightwatcher.WeightWatcher().analyze(model=folder)
    found = {
        row["longname"]: {"alpha": row["alpha"], "D": row["D"], "evals": int(row["num_evals"]), "status": row["status"]}
        for row in details.to_dict("records")
    }
    return weightwatcher.__version__, found


def main() -> None:
    """Writes the file."""
    import powerlaw  # pyright: ignore[reportMissingImports] - of the extra `comparison`

    version, layers = by_weightwatcher()
    reference = {
        "powerlaw_version": powerlaw.__version__,
        "powerlaw": {name: by_powerlaw(spectrum(draw(name))) for name in WEIGHTS},
        "weightwatcher_version": version,
        "weightwatcher": layers,
    }
    path = HERE / "patterns" / "reference.json"
    path.write_text(json.dumps(reference, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
