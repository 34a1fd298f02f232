"""Masks as files, and pruned models as checkpoints that plain transformers loads."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.core.spec import resolved
from chiasm.interventions.masks import MaskSpec
from chiasm.models.pruning.weights import WeightMask, masked
from chiasm.models.view import ModelView
from chiasm.results.storage import telling_full_disk, whole_directory, whole_file

MASK, ABOUT = "chiasm-mask.safetensors", "chiasm-mask.json"
_FORMAT = 1


def save_mask(mask: WeightMask, folder: Path) -> None:
    """Write the mask into `folder`: one bit per weight, and beside it what it is, in words that programs read.

    **Errors:** `FullDiskError`.
    """
    about = {
        "format": _FORMAT,
        "spec": resolved(mask.spec),
        "weights": mask.weights,
        "sparsity": mask.sparsity,
        "shapes": {name: list(shape) for name, shape in mask.shapes.items()},
        "bits": "row by row, the first weight in the lowest bit; 1 is kept",
    }
    with whole_file(folder / MASK) as file:
        file.write(save(dict(mask.bits)))
    with whole_file(folder / ABOUT) as file:
        file.write(json.dumps(about, indent=1).encode())


def load_mask(folder: str | Path) -> WeightMask:
    """The mask in `folder`, which may be that of an exported model.

    **Errors:** `ChiasmError` if there is none, or its files are damaged.
    """
    asked, root = f"read the mask in `{folder}`", Path(folder)
    if not (root / MASK).is_file() or not (root / ABOUT).is_file():
        raise ChiasmError(asked, f"it holds no {MASK} with its {ABOUT}", "Name a folder of `chiasm prune --export`")
    try:
        about = json.loads((root / ABOUT).read_text(encoding="utf-8"))
        bits = load_file(root / MASK)
        shapes = {name: (int(shape[0]), int(shape[1])) for name, shape in about["shapes"].items()}
        spec = _spec(about["spec"])
        weights = str(about["weights"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SafetensorError) as error:
        raise ChiasmError(asked, f"it is damaged ({error})", "Export the model again") from error
    _require_bits(asked, bits, shapes)
    return WeightMask(spec, weights, bits, shapes)


def export(view: ModelView, mask: WeightMask, folder: str | Path) -> Path:
    """Write the model with the masked weights zero, its processor and the mask. The model in memory stays as it is.

    The folder is what `save_pretrained` writes, so plain transformers loads it; zeros alone make no model faster
    (`kernels.semi_structured` does on a GPU). It appears whole or not at all.

    **Errors:** `ChiasmError` if the folder holds something, or the mask is for another model; `FullDiskError`.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ChiasmError(f"export to `{folder}`", "it is there already and not empty", "Choose another folder")
    with telling_full_disk("a model", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with masked(view, mask), whole_directory(path) as partial:
        view.model.save_pretrained(partial)
        view.processor.save_pretrained(partial)
        save_mask(mask, partial)
    return path


def _spec(plain: dict[str, Any]) -> MaskSpec:
    return MaskSpec(**plain | {"calibrations": tuple(plain["calibrations"])})


def _require_bits(asked: str, bits: dict[str, Tensor], shapes: dict[str, tuple[int, int]]) -> None:
    wrong = set(bits) ^ set(shapes) or {n for n, b in bits.items() if len(b) != -(-shapes[n][0] * shapes[n][1] // 8)}
    if wrong:
        raise ChiasmError(asked, f"it is damaged (`{sorted(wrong)[0]}` has no mask of its shape)", "Export it again")
