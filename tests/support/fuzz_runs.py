"""Runs whose files are damaged: whoever reads or resumes one says so, or has what was there; never something else."""

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from tests.support.damaged_files import damaged_text
from tests.support.rundirs import Spec, open_directory, rows

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.results.verify import verify

_SHARDS = range(3)


def _write(out: Path, shards: range) -> None:
    with open_directory(out, Spec()) as run:
        run.expect(_SHARDS)
        for shard in shards:
            _one(run, shard)
        if len(shards) == len(_SHARDS):
            run.finish()


def _one(run: RunDirectory, shard: int) -> None:
    run.write_shard(shard, {"eval": rows(shard)}, failures=[(f"failed-{shard}", "no image")])


def _require_same(out: Path) -> None:
    run = RunDirectory.load(out)
    for name, expected in _EXPECTED.items():
        found = run.table(name).select(expected.columns).sort("example_id")
        assert found.equals(expected), f"{name} is another, and nothing was said"


def _damaged(rng: random.Random, out: Path) -> bool:
    """Damage one or two files, or move or remove them; whether anything of what the run itself wrote is another."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and ".workers" not in path.parts)
    before = {path: path.read_bytes() for path in files}
    for chosen in rng.sample(files, rng.randint(1, 2)):
        match rng.randrange(8):
            case 0:
                chosen.unlink()
            case 1:
                chosen.unlink()
                chosen.mkdir()
            case 2:
                chosen.rename(chosen.with_name(f"{chosen.stem}-1{chosen.suffix}"))
            case 3:
                chosen.write_bytes(before[rng.choice(files)])
            case _:
                chosen.write_bytes(damaged_text(rng, before[chosen]))
    return any(not path.is_file() or _held(path.read_bytes()) != _held(content) for path, content in before.items())


def _held(content: bytes) -> Any:
    """What a file holds: of JSON its values, wherever spaces stand."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def _run(shards: range, then: Callable[[Path, bool], None]) -> Callable[[random.Random, Path], None]:
    whole: list[dict[str, bytes]] = []

    def put(rng: random.Random, folder: Path) -> None:
        out = folder / "run"
        if not whole:
            _write(out, shards)
            files = (path for path in out.rglob("*") if path.is_file() and ".workers" not in path.parts)
            whole.append({str(path.relative_to(out)): path.read_bytes() for path in files})
            shutil.rmtree(out)
        for name, content in whole[0].items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
        damaged, log = _damaged(rng, out), logging.getLogger("chiasm")
        level = log.level
        log.setLevel(logging.ERROR)  # each damaged shard is told of
        try:
            then(out, damaged)
        finally:
            log.setLevel(level)

    return put


def _read(out: Path, damaged: bool) -> None:
    """Reading has all tables as they were, or refuses; a check notices whatever is another."""
    try:
        problems = verify(out).problems
    except ChiasmError as error:
        problems = [str(error)]
    assert bool(problems) == damaged, f"damaged: {damaged}, but the check found {problems}"
    _require_same(out)


def _resume(out: Path, damaged: bool) -> None:
    """A run that goes on ends with what it would have had, or refuses to."""
    with open_directory(out, Spec(), resume=True) as run:
        run.expect(_SHARDS)
        for shard in sorted(set(_SHARDS) - run.done()):
            _one(run, shard)
        run.finish()
    _require_same(out)
    assert json.loads((out / "manifest.json").read_text())["status"] == "complete"


_EXPECTED = {
    "eval": pl.DataFrame([row for shard in _SHARDS for row in rows(shard)]).sort("example_id"),
    "failures": pl.DataFrame({"example_id": [f"failed-{shard}" for shard in _SHARDS]}),
}

RUNS = {
    "run read": _run(_SHARDS, _read),
    "run resumed": _run(range(2), _resume),
}
