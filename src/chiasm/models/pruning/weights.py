"""A mask on a model's weights: made from scores, applied and taken back exactly, stored in one bit per weight.

An exported model is a checkpoint that plain transformers loads.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.core.options import plain
from chiasm.interventions.masks import ABLATIONS, RELEASED_INTERSECTION, MaskSpec, blocks
from chiasm.models.pruning.calibrate import InputNorms
from chiasm.models.pruning.linears import WeightMatrix, matrices
from chiasm.models.pruning.masks import (
    dropped,
    keep,
    keep_all_but,
    keep_by,
    magnitude_scores,
    mean_scores,
    pack,
    random_scores,
    unpack,
    vote_scores,
    wanda_scores,
)
from chiasm.models.view import ModelView
from chiasm.results.storage import reporting_full_disk, whole_directory, whole_file

MASK, ABOUT = "chiasm-mask.safetensors", "chiasm-mask.json"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class WeightMask:
    """Which weights of which matrices are kept, for the model whose weights have the fingerprint `weights`.

    `bits`: by matrix name, packed (`masks.pack`); `shapes`: their outputs x inputs.
    """

    spec: MaskSpec
    weights: str
    bits: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, int]]

    def kept(self, name: str) -> Bool[Tensor, "O I"]:
        """The mask of one matrix, on the CPU."""
        return unpack(self.bits[name], self.shapes[name])

    @property
    def sparsity(self) -> float:
        """The share of the masked matrices' weights that is zeroed."""
        total = sum(rows * columns for rows, columns in self.shapes.values())
        return 1 - sum(int(self.kept(name).sum()) for name in self.bits) / total


@torch.no_grad()
def make_mask(
    view: ModelView, spec: MaskSpec, norms: Sequence[InputNorms] = (), weights: str | None = None
) -> WeightMask:
    """The mask of `spec` on the model as it is now. `norms`: one for each of the spec's calibrations, in order.

    `weights`: the model's fingerprint, if it is known already.

    **Errors:** `ChiasmError` for a model that cannot be pruned, or a pattern that does not divide a matrix.
    """
    if len(norms) != len(spec.calibrations):
        raise ValueError(f"{len(norms)} norms for the calibrations {spec.calibrations}")
    chosen = matrices(view, spec.part)
    found = {matrix.name: _kept(matrix, spec, norms) for matrix in chosen}
    shapes = {matrix.name: tuple(matrix.linear.weight.shape) for matrix in chosen}
    bits = {name: pack(mask) for name, mask in found.items()}
    return WeightMask(spec, view.fingerprint() if weights is None else weights, bits, shapes)


def _kept(matrix: WeightMatrix, spec: MaskSpec, norms: Sequence[InputNorms]) -> Bool[Tensor, "O I"]:
    if spec.method in ABLATIONS:
        return _ablated(matrix, spec, norms)
    if spec.method == RELEASED_INTERSECTION:
        weight = matrix.linear.weight
        each = [keep(wanda_scores(weight, one.inputs[matrix.name]), spec.sparsity, spec.pattern) for one in norms]
        return torch.stack(each).all(dim=0)
    return keep_by(spec.method, _scores(matrix, spec, norms), spec.sparsity, spec.pattern)


def _ablated(matrix: WeightMatrix, spec: MaskSpec, norms: Sequence[InputNorms]) -> Bool[Tensor, "O I"]:
    """As many weights zeroed in every set: what the smallest set has, at most."""
    weight = matrix.linear.weight
    first, second = (keep(wanda_scores(weight, n.inputs[matrix.name]), spec.within, spec.pattern).cpu() for n in norms)
    sets = {
        "ablate-common": first & second,
        "ablate-first": first & ~second,
        "ablate-second": second & ~first,
        "ablate-random": torch.ones_like(first),
    }
    count = min(dropped(weight.numel(), spec.sparsity), *(int(chosen.sum()) for chosen in sets.values()))
    return keep_all_but(sets[spec.method], count, (spec.seed, zlib.crc32(matrix.name.encode())))


def _scores(matrix: WeightMatrix, spec: MaskSpec, norms: Sequence[InputNorms]) -> Float[Tensor, "O I"]:
    weight = matrix.linear.weight
    each = [wanda_scores(weight, one.inputs[matrix.name]) for one in norms]
    block = blocks(spec.pattern)
    width = None if block is None or weight.shape[1] % block[1] else block[1]
    match spec.method:
        case "wanda" | "wanda-cumulative":
            return each[0]
        case "wanda-centred":
            return wanda_scores(weight, norms[0].centred[matrix.name])
        case "intersection":
            return vote_scores(each, len(each), width)
        case "majority":
            return vote_scores(each, len(each) // 2 + 1, width)
        case "mean-score":
            return mean_scores(each)
        case "random":
            return random_scores(tuple(weight.shape), matrix.name, spec.seed)
        case "magnitude" | "magnitude-row":
            return magnitude_scores(weight)
    raise ValueError(f"`{spec.method}` has no scores")


def require_fit(view: ModelView, mask: WeightMask, same_weights: bool = True) -> dict[str, WeightMatrix]:
    """The matrices that `mask` is for, by name.

    **Errors:** `ChiasmError` if the model has others, or (`same_weights`) other values in them.
    """
    there = {matrix.name: matrix for matrix in matrices(view, mask.spec.part)}
    asked, todo = f"apply a mask to `{view.name}`", "Use the model that the mask was made for"
    if set(there) != set(mask.bits):
        odd = sorted(set(there) ^ set(mask.bits))[0]
        raise ChiasmError(asked, f"the mask is for another model: only one of them has the matrix `{odd}`", todo)
    for name, matrix in there.items():
        if tuple(matrix.linear.weight.shape) != mask.shapes[name]:
            found = f"`{name}` is {tuple(matrix.linear.weight.shape)} here and {mask.shapes[name]} in the mask"
            raise ChiasmError(asked, f"the mask is for another model: {found}", todo)
    if same_weights and view.fingerprint() != mask.weights:
        found = "the mask is for another model: shapes agree but the weights do not"
        raise ChiasmError(asked, found, f"{todo}, or give same_weights=False if its weights were only fine-tuned")
    return there


@contextmanager
def masked(view: ModelView, mask: WeightMask, *, same_weights: bool = True) -> Iterator[dict[str, WeightMatrix]]:
    """While open the weights that `mask` leaves out are zero; then every bit of them is back. Gives the matrices.

    Memory: the values that were zeroed. **Errors:** as in `require_fit`.
    """
    there = require_fit(view, mask, same_weights)
    with ExitStack() as stack:
        for name, matrix in there.items():
            weight = matrix.linear.weight.data
            zeroed = ~mask.kept(name).to(weight.device)
            stack.callback(weight.__setitem__, zeroed, weight[zeroed].clone())
            weight.masked_fill_(zeroed, 0)
        yield there


def save_mask(mask: WeightMask, folder: Path) -> None:
    """Write the mask into `folder`: one bit per weight, and beside it what it is, in words that programs read.

    **Errors:** `FullDiskError`.
    """
    about = {
        "format": _FORMAT,
        "spec": plain(mask.spec),
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
        spec = MaskSpec(**about["spec"] | {"calibrations": tuple(about["spec"]["calibrations"])})
        weights = str(about["weights"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SafetensorError) as error:
        raise ChiasmError(asked, f"it is damaged ({error})", "Export the model again") from error
    _require_bits(asked, bits, shapes)
    return WeightMask(spec, weights, bits, shapes)


def export(view: ModelView, mask: WeightMask, folder: str | Path) -> Path:
    """Write the model with the masked weights zero, its processor and the mask. The model in memory stays as it is.

    The folder is what `save_pretrained` writes, so plain transformers loads it; zeros alone make no model faster.
    It appears whole or not at all.

    **Errors:** `ChiasmError` if the folder holds something, or the mask is for another model; `FullDiskError`.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ChiasmError(f"export to `{folder}`", "it is there already and not empty", "Choose another folder")
    with reporting_full_disk("a model", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with masked(view, mask), whole_directory(path) as partial:
        view.model.save_pretrained(partial)
        view.processor.save_pretrained(partial)
        save_mask(mask, partial)
    return path


def _require_bits(asked: str, bits: dict[str, Tensor], shapes: dict[str, tuple[int, int]]) -> None:
    wrong = set(bits) ^ set(shapes) or {n for n, b in bits.items() if len(b) != -(-shapes[n][0] * shapes[n][1] // 8)}
    if wrong:
        raise ChiasmError(asked, f"it is damaged (`{sorted(wrong)[0]}` has no mask of its shape)", "Export it again")
