"""What a run was asked to do: frozen values with a stable hash."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any


def resolved(spec: Any) -> Any:
    """`spec` (dataclasses, tuples, paths, scalars) as plain JSON values, keys in a fixed order."""
    if dataclasses.is_dataclass(spec) and not isinstance(spec, type):
        return {f.name: resolved(getattr(spec, f.name)) for f in dataclasses.fields(spec)}
    if isinstance(spec, dict):
        return {str(k): resolved(v) for k, v in sorted(spec.items())}
    if isinstance(spec, list | tuple):
        return [resolved(v) for v in spec]
    if isinstance(spec, Path):
        return str(spec)
    if spec is None or isinstance(spec, str | int | float | bool):
        return spec
    raise TypeError(f"a spec holds plain values only, found {type(spec).__name__}")


def spec_hash(spec: Any) -> str:
    """SHA-256 (first 16 hex digits) of the resolved spec: two runs with one hash asked the same thing."""
    text = json.dumps(resolved(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
