"""Ways in which a saved checkpoint gets damaged, drawn at random: each changes files on disk and says what it did."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path, random.Random], str]

INDEX = "model.safetensors.index.json"
_COARSER = (torch.bfloat16, torch.float16, torch.int8, torch.float8_e4m3fn)
_FINER = (torch.float64,)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _shard(folder: Path, rng: random.Random) -> tuple[Path, dict[str, torch.Tensor], str]:
    """A shard, its tensors, and the name of one of them; every tensor of the checkpoint is as likely."""
    mapped = _read(folder / INDEX)["weight_map"]
    name = rng.choice(sorted(mapped))
    return folder / mapped[name], load_file(folder / mapped[name]), name


def _rewrite(path: Path, tensors: dict[str, torch.Tensor], rng: random.Random, gone: str = "", new: str = "") -> None:
    """Write a shard; half of the time the index is told what became of a tensor."""
    save_file(tensors, path, {"format": "pt"})
    index = _read(path.parent / INDEX)
    if gone and rng.random() < 0.5:
        del index["weight_map"][gone]
        if new:
            index["weight_map"][new] = path.name
        (path.parent / INDEX).write_text(json.dumps(index))


def dropped(folder: Path, rng: random.Random) -> str:
    path, tensors, name = _shard(folder, rng)
    del tensors[name]
    _rewrite(path, tensors, rng, name)
    return name


def renamed(folder: Path, rng: random.Random) -> str:
    path, tensors, name = _shard(folder, rng)
    parts = name.split(".")
    at = rng.randrange(len(parts))
    parts[at] = str(int(parts[at]) + 90) if parts[at].isdigit() else rng.choice([f"mm_{parts[at]}", "base_model", "w"])
    new = ".".join(parts)
    tensors[new] = tensors.pop(name)
    _rewrite(path, tensors, rng, name, new)
    return f"{name} -> {new}"


def retyped(folder: Path, rng: random.Random) -> str:
    path, tensors, name = _shard(folder, rng)
    dtype = rng.choice(_COARSER + _FINER)
    tensors[name] = tensors[name].to(dtype)
    _rewrite(path, tensors, rng)
    return f"{name} as {dtype}"


def not_finite(folder: Path, rng: random.Random) -> str:
    path, tensors, name = _shard(folder, rng)
    value = rng.choice([float("nan"), float("inf"), -float("inf")])
    flat = tensors[name].reshape(-1)
    flat[rng.randrange(len(flat))] = value
    _rewrite(path, tensors, rng)
    return f"{name} {value}"


def shard_missing(folder: Path, rng: random.Random) -> str:
    shards = sorted(set(_read(folder / INDEX)["weight_map"].values()))
    name = rng.choice(shards)
    (folder / name).unlink()
    if rng.random() < 0.5:
        index = _read(folder / INDEX)
        index["weight_map"] = {key: file for key, file in index["weight_map"].items() if file != name}
        (folder / INDEX).write_text(json.dumps(index))
    return f"{name} of {len(shards)}"


def config_altered(folder: Path, rng: random.Random) -> str:
    config = _read(folder / "config.json")
    place = rng.choice(list(_entries(config)))
    holder = config
    for key in place[:-1]:
        holder = holder[key]
    before = holder[place[-1]]
    way = rng.choice(["removed", "other", "other", "other"])
    shown = ".".join(map(str, place))
    if way == "removed":
        del holder[place[-1]]
        shown += " removed"
    else:
        holder[place[-1]] = rng.choice(_others(before))
        shown += f" = {holder[place[-1]]!r} (was {before!r})"
    (folder / "config.json").write_text(json.dumps(config))
    return shown


DAMAGES: dict[str, Damage] = {
    "dropped": dropped,
    "renamed": renamed,
    "retyped": retyped,
    "not finite": not_finite,
    "shard missing": shard_missing,
    "config altered": config_altered,
}


def _entries(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from _entries(value, (*place, key))


def _others(value: Any) -> list[Any]:
    """What may stand in place of a value after a slip: nothing, another type, another size, no number."""
    if isinstance(value, bool):
        return [not value, None, "x"]
    if isinstance(value, int):
        return [None, "x", 0, -1, value + 1, value * 2, value // 2, 10**9]
    if isinstance(value, float):
        return [None, "x", float("nan"), 0.0, -value, value * 10]
    if isinstance(value, str):
        return [None, 7, "x", ""]
    if isinstance(value, list):
        return [None, [], value[:-1], [*value, *value[:1]]]
    return [None, {}, 7] if isinstance(value, dict) else [7, "x"]
