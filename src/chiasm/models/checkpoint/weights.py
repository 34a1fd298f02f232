"""Whether a model holds the numbers of its files: every tensor that it needs, of its shape, stored as such, and finite.

transformers draws at random what a checkpoint lacks, casts whatever it is given, and says so in a table that nobody
has to read. Here each is an error.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.checkpoint.files import CheckpointFiles, StoredTensor

_SHOWN: Final = 3
_HOLDS: Final[dict[str, frozenset[str]]] = {
    "F64": frozenset({"F64", "F32", "BF16", "F16"}),
    "F32": frozenset({"F32", "BF16", "F16"}),
    "BF16": frozenset({"BF16"}),
    "F16": frozenset({"F16"}),
}
"""The dtypes whose numbers a stored dtype can hold without rounding."""
_TORCH: Final = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_COPY: Final = "Copy the model again, or save it with `save_pretrained` from a class that has them all"


def shown(names: Iterable[str]) -> str:
    """The first few of `names`, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in listed[:_SHOWN]) + more


def require_complete(asked: str, info: Mapping[str, Any], files: CheckpointFiles) -> None:
    """Refuse a model of which transformers says that tensors are missing, unexpected or of another shape.

    `info` is its loading info: tied heads, buffers that are computed anew and what a class declares it can do without
    are out of it already.

    **Errors:** `ChiasmError` with the first few names and the counts.
    """
    missing, unexpected = info["missing_keys"], info["unexpected_keys"]
    mismatched: list[tuple[str, Sequence[int], Sequence[int]]] = sorted(info["mismatched_keys"])
    if mismatched:
        name, stored, wanted = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        found = f"`{name}` is {_shape(stored)} in its files and {_shape(wanted)} by its config.json{more}"
        rows = [own for own in mismatched if "embed" in own[0] or "head" in own[0]]
        if len(rows) == len(mismatched):
            found += ": the vocabulary of the one is not that of the other"
        raise ChiasmError(asked, found, "Take config.json and weights from the same checkpoint")
    parts = []
    if missing:
        parts.append(f"{_count(missing)} missing in its files ({shown(missing)}) and would be drawn at random")
    if unexpected:
        parts.append(f"{_count(unexpected)} in its files that the model has no place for ({shown(unexpected)})")
    if not parts:
        return
    todo = _COPY
    if len(missing) + len(unexpected) > len(files.tensors):
        todo = "These are weights of another architecture than config.json names: take both from the same checkpoint"
    elif missing and unexpected:
        todo = "Tensors seem to be renamed: save the model with `save_pretrained`"
    elif unexpected:
        todo = "Take config.json and weights from the same checkpoint"
    elif all("head" in name for name in missing):
        todo = "It was saved from a class without a head: save it from the one that generates text"
    raise ChiasmError(asked, "; ".join(parts), todo)


def require_unrounded(asked: str, files: CheckpointFiles, model: nn.Module) -> None:
    """Refuse integers and 8-bit floats without their scales where a model computes with floats, and lone tensors that
    are stored more coarsely than those like them.

    **Errors:** `ChiasmError` with the first few names.
    """
    counted = {name.rpartition(".")[2] for name, one in _named(model) if not one.is_floating_point()}
    coded = {name: one for name, one in files.tensors.items() if one.dtype not in _HOLDS}
    coded = {name: one for name, one in coded.items() if name.rpartition(".")[2] not in counted}
    if coded:
        first = min(coded)
        found = f"{_count(coded)} stored as {coded[first].dtype} without scales ({shown(coded)}), where it has floats"
        todo = (
            "Its config.json says nothing of quantisation: copy it again, or name the checkpoint that is not quantised"
        )
        raise ChiasmError(asked, found, todo)
    odd = _coarser_than_their_like(files.tensors)
    if odd:
        name, usual = min(odd.items())
        found = (
            f"{_count(odd)} stored as {files.tensors[name].dtype} where those like it are {usual} ({shown(odd)}), "
            "so that its numbers were rounded"
        )
        raise ChiasmError(asked, found, "Copy the model again")


def stored_dtype(files: CheckpointFiles) -> torch.dtype | None:
    """The dtype that most numbers of the files have; None where they are no plain floats."""
    sizes: Counter[str] = Counter()
    for one in files.tensors.values():
        sizes[one.dtype] += one.size
    return _TORCH.get(sizes.most_common(1)[0][0])


def rounds(stored: torch.dtype, computed: torch.dtype) -> bool:
    """Whether numbers of the dtype `stored` are rounded when they are brought into `computed`."""
    names = {value: name for name, value in _TORCH.items()}
    return names[stored] not in _HOLDS[names[computed]]


def require_values(asked: str, model: nn.Module, files: CheckpointFiles | None = None) -> None:
    """Refuse weights that are NaN or infinite, or that are not there at all: every parameter is looked at once.

    Weights that accelerate keeps elsewhere (offloaded) are read from `files` where these are known, else trusted.
    The price is one reading of the weights: about 0.1 s per GB in memory.

    **Errors:** `ChiasmError` with the first few names.
    """
    parameters = dict(model.named_parameters())
    absent = [name for name, one in parameters.items() if one.is_meta]
    if absent and not _is_offloaded(model):
        found = f"{len(absent)} of its {len(parameters)} parameters are on the device `meta` ({shown(absent)})"
        raise ChiasmError(asked, f"{found}: they have a shape and no values", "Load its weights first")
    bad = [name for name, one in parameters.items() if not one.is_meta and not _is_finite(one)]
    bad += [name for name, one in model.named_buffers() if name in _kept(model) and not one.is_meta and _has_nan(one)]
    if absent and files is not None:
        bad += _not_finite_in(files)
    if bad:
        found = f"{_count(bad)} NaN or infinite ({shown(bad)})"
        raise ChiasmError(asked, found, "Copy the model again, or take a checkpoint from before its training diverged")


def require_rows(asked: str, model: Any, tokenizer: Any) -> None:
    """Refuse a vocabulary that disagrees with the rows of embedding and head.

    The head may have fewer rows than the embedding (Mllama reads a token that it cannot write), and both may have
    more than there are tokens.

    **Errors:** `ChiasmError` with both shapes.
    """
    if model.get_output_embeddings() is None:
        # Where the model itself names no head, the trial of an unlisted architecture looks for one.
        return
    # Low-rank layers of PEFT stand in front of the matrices.
    embedded, written = _matrix(model.get_input_embeddings()), _matrix(model.get_output_embeddings())
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    shapes = f"its embedding is {_shape(embedded.shape)} and its head {_shape(written.shape)}"
    if written.shape[0] != vocabulary or embedded.shape[0] < vocabulary:
        found = f"{shapes}, and its configuration counts {vocabulary} tokens"
        raise ChiasmError(asked, found, "Call `resize_token_embeddings`, which keeps the three alike")
    last = max(tokenizer.get_vocab().values(), default=-1)
    if last >= embedded.shape[0]:
        text = tokenizer.convert_ids_to_tokens(last)
        found = f"its tokenizer has ids up to {last} ({text!r}), and {shapes}"
        raise ChiasmError(asked, found, "Take the tokenizer of this checkpoint, or call `resize_token_embeddings`")


def unnamed_rows(model: Any, tokenizer: Any) -> int:
    """How many rows of the head belong to no token of the tokenizer."""
    head = model.get_output_embeddings()
    if head is None:
        return 0
    rows = _matrix(head).shape[0]
    return rows - len({number for number in tokenizer.get_vocab().values() if number < rows})


def _matrix(module: nn.Module) -> Tensor:
    return cast(Tensor, module.weight)


def _named(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _kept(model: nn.Module) -> set[str]:
    """The names of the buffers that are stored with the model."""
    return model.state_dict().keys() - dict(model.named_parameters()).keys()


def _is_offloaded(model: nn.Module) -> bool:
    # accelerate's hooks bring weights in for each call.
    return any("_hf_hook" in vars(module) for module in model.modules())


def _is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; the extremes show it in one pass, and NaN is both."""
    if not values.is_floating_point() or not values.numel():
        return True
    values = values.detach()
    if values.element_size() == 1:  # torch compares no 8-bit floats
        values = values.to(torch.bfloat16)
    return bool(torch.stack(torch.aminmax(values)).isfinite().all())


def _has_nan(values: Tensor) -> bool:
    # Infinity is a number in masks.
    return values.is_floating_point() and bool(values.isnan().any())


def _not_finite_in(files: CheckpointFiles) -> list[str]:
    bad = []
    for path in files.paths:
        with safe_open(path, framework="pt") as file:
            bad += [name for name in file.keys() if not _is_finite(file.get_tensor(name))]  # noqa: SIM118
    return bad


def _coarser_than_their_like(tensors: Mapping[str, StoredTensor]) -> dict[str, str]:
    """Tensors that could not hold the numbers of those like them, by name, and how those are stored.

    Alike are tensors of one name in different layers. One that has no like is compared with all others.
    """
    floats = {name: one.dtype for name, one in tensors.items() if one.dtype in _HOLDS}
    alike: dict[str, list[str]] = {}
    for name in floats:
        alike.setdefault(re.sub(r"\.\d+(?=\.)", ".*", name), []).append(name)
    every = Counter(floats.values())
    odd: dict[str, str] = {}
    for names in alike.values():
        if len(names) == 1:
            others = every - Counter([floats[names[0]]])
            if others and not _HOLDS[floats[names[0]]] & others.keys():
                odd[names[0]] = others.most_common(1)[0][0]
            continue
        counts = Counter(floats[name] for name in names)
        usual = max(counts, key=lambda dtype: (counts[dtype], len(_HOLDS[dtype])))
        odd |= {name: usual for name in names if usual not in _HOLDS[floats[name]]}
    return odd


def _count(names: Iterable[str]) -> str:
    number = len(list(names))
    return f"{number} tensor{' is' if number == 1 else 's are'}"


def _shape(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
