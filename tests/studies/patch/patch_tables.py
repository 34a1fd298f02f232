"""Tables of a patching run, made up so that what follows from them is known."""

from collections.abc import Callable

import numpy as np
import polars as pl

GAP = 8.0
Share = Callable[[str, str, int, np.random.Generator], float]


def tables(
    share: Share,
    *,
    controls: dict[str, Share] | None = None,
    n: int = 40,
    layers: int = 4,
    spans: tuple[str, ...] = ("image", "question", "last"),
    gap: float = GAP,
    random_gap: float | None = None,
    small: int = 0,
    seed: int = 0,
) -> dict[str, pl.DataFrame]:
    """`share` of the gap by (span, direction, layer); `small`: pairs of the first whose gap is too small for one.

    Only the columns of the contract.
    """
    rng = np.random.default_rng(seed)
    effects, beside = [], []
    for k in range(n):
        for span in spans:
            for direction in ("denoise", "noise"):
                for layer in range(layers):
                    value = share(span, direction, layer, rng)
                    moved = value * gap
                    row = {
                        "example_id": f"e{k:03d}",
                        "donor_id": f"d{k:03d}",
                        "type": "all",
                        "site": "residual",
                        "span": span,
                        "layer": layer,
                        "start": layer,
                        "stop": layer + 1,
                        "direction": direction,
                        "target_token_id": 1,
                        "logprob_clean": -0.1,
                        "logprob_donor": -0.1 - gap,
                        "logprob_patched": (-0.1 - gap + moved) if direction == "denoise" else -0.1 - moved,
                        "recovery": None if k < small else value,
                    }
                    effects.append(row)
                    for name, of in (controls or {}).items():
                        other = of(span, direction, layer, rng)
                        beside.append(row | {"recovery": other, "control": name, "sample": 0})
    made = {"effects": pl.DataFrame(effects, infer_schema_length=None)}
    if beside:
        made["controls"] = pl.DataFrame(beside, infer_schema_length=None)
    if random_gap is not None:
        gaps = rng.normal(random_gap, 0.1, n)
        made["pairs_controls"] = pl.DataFrame(
            {"example_id": [f"e{k:03d}" for k in range(n)], "gap": gaps, "sample": [k % 3 for k in range(n)]}
        )
    return made
