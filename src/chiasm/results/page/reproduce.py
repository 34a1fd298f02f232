"""How a run was made: the command or the call that repeats it, what it ran on, and what it took."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chiasm.core.options import IN_MEMORY, MISSING, Declared, Options, declared, singular
from chiasm.results.provenance import without_machine_paths
from chiasm.results.rundir import RunDirectory

_PER_SESSION = ("resume", "fresh")


def command_line(run: RunDirectory, spec: Options) -> str:
    """The command that repeats the run: every option that was given."""
    given = _given(run, spec)
    words = ["chiasm", run.manifest["study"]]
    for one in declared(type(spec)):
        if one.name in given and one.name not in _PER_SESSION:
            words += _words(one, given[one.name])
    return without_machine_paths(shlex.join(words))


def python_call(run: RunDirectory, spec: Options) -> str:
    """The call that repeats the run; what was given in memory stands there as a variable."""

    def written(name: str, value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(written(singular(name), item) for item in value)}]"
        return name if value == IN_MEMORY else repr(value)

    given = _given(run, spec)
    words = [
        f"{one.name}={written(one.name, given[one.name])}"
        for one in declared(type(spec))
        if one.name in given and one.name not in _PER_SESSION
    ]
    return without_machine_paths(f"chiasm.{run.manifest['study']}({', '.join(words)})")


def filled_in(run: RunDirectory, spec: Options) -> list[str]:
    """What was not given and not at its declared default either, as `--data scenes`."""
    given = _given(run, spec)
    words = [
        shlex.join(_words(one, one.recorded(value)))
        for one in declared(type(spec))
        if one.option.identity and one.name not in given and one.default is not MISSING
        for value in [getattr(spec, one.name)]
        if value != one.checked(one.default)
    ]
    return [without_machine_paths(word) for word in words]


def in_memory(run: RunDirectory, spec: Options) -> list[str]:
    """The options whose values no command can name."""
    given = _given(run, spec)
    return [name for name, value in given.items() if IN_MEMORY in _several(value)]


def facts(run: RunDirectory, more: Sequence[str] = ()) -> list[str]:
    """What stands under the title: model, examples, what they did (`more`), precision, device."""
    manifest, counts = run.manifest, run.counts()
    model = manifest.get("model")
    name = model.get("id", "") if isinstance(model, dict) else model
    kept = f"{counts['kept']} of {counts['asked']} examples"
    precision = manifest.get("precision") or manifest.get("dtype")
    template = manifest.get("loaded", {}).get("template", "own")
    return [
        *([f"model {name}"] if name else []),
        kept,
        *more,
        *(str(fact) for fact in (precision, manifest.get("device")) if fact),
        *([] if template == "own" else [f"chat template {template}"]),
    ]


def provenance(run: RunDirectory) -> list[tuple[str, str]]:
    """Hashes, versions, places and times, by name."""
    manifest = run.manifest
    rows = [("spec", manifest["spec_hash"]), *_times(manifest)]
    rows += manifest["versions"].items()
    if isinstance(manifest.get("model"), dict):
        rows += [(f"model {key}", value) for key, value in manifest["model"].items()]
    loaded = {key: value for key, value in manifest.get("loaded", {}).items() if value not in ("", 0)}
    rows += [(f"loaded {key.replace('_', ' ')}", value) for key, value in loaded.items()]
    data = manifest.get("data", {})
    for number, one in enumerate(several := data if isinstance(data, list) else [data], start=1):
        which = f"data {number}" if len(several) > 1 else "data"
        rows += [(f"{which} {key}", value) for key, value in one.items() if not isinstance(value, dict)]
    rows += [
        (key, manifest[key])
        for key in ("seed", "dtype", "precision", "device", "platform")
        if manifest.get(key) is not None
    ]
    if manifest.get("git"):
        dirty = " with uncommitted changes" if manifest["git"]["dirty"] else ""
        rows.append(("git", f"{manifest['git']['revision']}{dirty}"))
    if manifest["resumed"]:
        rows.append(("resumed", f"{len(manifest['resumed'])} times"))
    if manifest.get("restarted"):
        rows.append(("processes lost", f"{manifest['restarted']}, started again"))
    return [(str(key), str(value)) for key, value in rows]


def _times(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """When it ran and what it took, in all and part by part where the study timed them."""
    rows = [("started", manifest["started"])]
    if manifest.get("finished"):
        first, last = (datetime.fromisoformat(manifest[key]) for key in ("started", "finished"))
        between = " from the first start to the end" if manifest["resumed"] else ""
        rows.append(("took", f"{(last - first).total_seconds():,.0f} s{between}"))
    parts = manifest.get("parts") or manifest.get("seconds") or {}
    return rows + [(f"time of {name}", f"{value:,.1f} s") for name, value in parts.items()]


def _given(run: RunDirectory, spec: Options) -> dict[str, Any]:
    # Runs of the version before kept only what decides about their rows.
    return run.manifest.get("given") or spec.given()


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(one: Declared, value: Any) -> list[str]:
    if value is None:
        return []
    values = [str(item) for item in _several(value)]
    if one.argument:
        return values
    if isinstance(value, bool):
        return [one.flag if value else one.flag.replace("--", "--no-", 1)]
    return [word for item in values for word in (one.flag, item)]
