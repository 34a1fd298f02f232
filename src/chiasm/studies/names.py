"""Are the models and data that a spec names there at all? Asked before anything is announced, loaded or computed."""

import difflib
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Declared, Options, declared
from chiasm.core.places import require_place
from chiasm.data import examples
from chiasm.data.sources import require_kind
from chiasm.smollm2.names import NAMES as SMOLLM2
from chiasm.studies.options import RANDOM_BASELINE, ReadingOptions, data_name, model_name
from chiasm.tiny.registry import NAMES as TINY
from chiasm.tiny.registry import names as embedded_names


def require_names(spec: Options) -> None:
    """Refuse a spec that names a model or data that cannot be there. No model is loaded and no network is asked.

    **Errors:** `ChiasmError` with the nearest name.
    """
    for one in declared(type(spec)):
        for value in _named(spec, one):
            if one.option.recorded is model_name:
                if value != RANDOM_BASELINE:
                    require_model(value)
            else:
                _require_data(spec, value)


def require_model(name: str) -> None:
    """Refuse what is no model: a word close to an embedded model's name, or a directory that is not there.

    **Errors:** `ChiasmError` with the nearest name; no network is asked for a slip.
    """
    known = [*embedded_names(), *SMOLLM2]
    if name in known or Path(name).expanduser().is_dir():
        return
    asked = f"load the model `{name}`"
    require_place(asked, name)
    near = difflib.get_close_matches(name, known, n=1)
    if "/" not in name and (near or name in TINY or "@" in name):
        found = "no embedded model has that name, no directory is called so, and a hub id reads OWNER/NAME"
        todo = f"Did you mean {near[0]}? `chiasm models` lists them" if near else "`chiasm models` lists them"
        raise ChiasmError(asked, found, todo)


def _require_data(spec: Options, name: str) -> None:
    """Of a file the first example is read as well, which a wrong field shows in; of a folder its names alone."""
    if Path(name).is_dir():
        require_kind(Path(name))
        return
    read = isinstance(spec, ReadingOptions)
    found = examples(name, 1, split=spec.split if read else "heldout", media=spec.media if read else None)
    if Path(name).is_file():
        next(found, None)


def _named(spec: Options, one: Declared) -> list[str]:
    """The names that an option of models or data holds; none for what is in memory."""
    if one.option.recorded not in (model_name, data_name):
        return []
    value = getattr(spec, one.name)
    several = value if one.repeated and value is not None else (value,)
    return [str(name) for name in several if isinstance(name, str | Path)]
