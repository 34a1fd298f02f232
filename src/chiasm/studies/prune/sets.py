"""Which examples calibrate and which evaluate: never the same, and never one image on both sides."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example, Split
from chiasm.core.statistics.jackknife import priority
from chiasm.data import examples as read
from chiasm.studies.inputs import is_endless
from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.prune.tables import IMAGE_TOKENS, MODALITIES, POOLED, TEXT_TOKENS, TYPES, UNCALIBRATED

_RESERVED = {POOLED, IMAGE_TOKENS, TEXT_TOKENS, TYPES, MODALITIES, UNCALIBRATED}
# An endless source that never yields some type must not be waited for.
_PATIENCE = 20


def examples_of(spec: PruneSpec) -> tuple[list[Example], list[Example]]:
    """Examples to evaluate and examples to calibrate on.

    **Errors:** `ChiasmError` if the data cannot be parted, or a type has nothing to calibrate on.
    """
    data = spec.data
    assert data is not None
    source = data if spec.calibrate_on is None and is_endless(data) else spec.calibrate_on
    if source is None:
        every = list(read(data, None, spec.seed, spec.split, spec.media, allow_outside=spec.allow_outside))
        types = len({example.type for example in every})
        each = spec.calibration if spec.combine else -(-spec.calibration // types)
        calibrating, rest = held_out(every, each, spec.seed)
        return rest[: spec.limit], calibrating
    chosen = list(read(data, spec.limit, spec.seed, spec.split, spec.media, allow_outside=spec.allow_outside))
    types = types_of(chosen) if spec.combine else ()
    others = read(source, None, spec.seed, other_split(spec.split), spec.media, allow_outside=spec.allow_outside)
    return chosen, gather(others, types, spec.calibration)


def other_split(split: Split) -> Split:
    """The part of the data that is not `split`."""
    return next(one for one in get_args(Split) if one != split)


def types_of(examples: Iterable[Example]) -> tuple[str, ...]:
    """The question types, sorted, without a name that means something else in the tables."""
    return tuple(sorted({example.type for example in examples} - _RESERVED))


def gather(source: Iterable[Example], types: Sequence[str], each: int) -> list[Example]:
    """The first `each` examples of every type in `types` (of all types where there are none).

    **Errors:** `ChiasmError` if a type has no example.
    """
    names = types or (POOLED,)
    found: dict[str, list[Example]] = {name: [] for name in names}
    for number, example in enumerate(source):
        name = example.type if types else POOLED
        if name in found and len(found[name]) < each:
            found[name].append(example)
        if number >= _PATIENCE * each * len(names) or all(len(part) == each for part in found.values()):
            break
    empty = [name for name, part in found.items() if not part]
    if empty:
        todo = "Give --calibrate-on with all types of the data, or --no-combine"
        raise ChiasmError("find calibration examples", f"there is none of type `{empty[0]}`", todo)
    return [example for part in found.values() for example in part]


def held_out(examples: Sequence[Example], each: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Calibration examples, at most `each` and at most half of every type, and the others to evaluate on.

    Which ones depends on their identifiers and the seed, not on their order. Examples that share an image with a
    calibration example are in neither part.

    **Errors:** `ChiasmError` if nothing is left to evaluate on.
    """
    by_type: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda one: priority(one.id, seed)):
        by_type.setdefault(example.type, []).append(example)
    chosen = [example for part in by_type.values() for example in part[: min(each, len(part) // 2)]]
    ids, images = {example.id for example in chosen}, _images(chosen)
    rest = [one for one in examples if one.id not in ids and not images & _images([one])]
    if not chosen or not rest:
        found = f"its {len(examples)} examples cannot be parted without a common image"
        todo = "Give more examples, or others with --calibrate-on"
        raise ChiasmError("calibrate and evaluate on one data set", found, todo)
    return chosen, rest


def require_disjoint(calibration: Sequence[Example], evaluation: Sequence[Example]) -> None:
    """Refuse a mask that has seen what it is judged on: an example, or one of its images."""
    common = {one.id for one in calibration} & {one.id for one in evaluation}
    if not common and not _images(calibration) & _images(evaluation):
        return
    what = f"share {len(common)} examples, such as `{sorted(common)[0]}`" if common else "share images"
    todo = "Give other examples to --calibrate-on or --data"
    raise ChiasmError("calibrate and evaluate", f"the two sets {what}", todo)


def calibration_sets(examples: Sequence[Example], types: Sequence[str], each: int) -> Mapping[str, Sequence[Example]]:
    """Up to `each` examples for every type, and as many for the pooled set `all`, its types taking turns."""
    by_type = {name: [one for one in examples if one.type == name][:each] for name in types}
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.type, []).append(example)
    longest = max((len(part) for part in groups.values()), default=0)
    turns = [part[k] for k in range(longest) for part in groups.values() if k < len(part)]
    return {POOLED: turns[:each], **by_type}


def _images(examples: Iterable[Example]) -> set[Any]:
    return {
        str(image) if isinstance(image, str | Path) else id(image) for example in examples for image in example.images
    }
