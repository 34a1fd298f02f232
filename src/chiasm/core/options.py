"""Options declared once: fields of a frozen dataclass that say type, default, range, help, and where each belongs.

The command line, the signature and the help of the Python function, the manifest, and "how to reproduce" are all made
from these declarations.
"""

import dataclasses
import hashlib
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache, partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Union, final, get_args, get_origin, get_type_hints

from cyclopts.validators import Number

from chiasm.core.errors import ChiasmError, nearest

IN_MEMORY = "in memory"
"""What is recorded of a value that has no name of its own."""


class Section(StrEnum):
    """The question that an option answers; help is ordered by it."""

    MEASURE = "What to measure"
    EXAMPLES = "Which examples"
    COMPUTE = "Where computed"
    WRITE = "Where written"


@final
@dataclass(frozen=True, slots=True)
class Option:
    """What a declaration says beside type and default.

    `common`: among the few that `--help` shows. `identity`: runs that differ here have other rows, so it is part of
    what a run was asked (False: where and how it is computed). `by_content`: it names what lies somewhere, and runs are
    compared by what lies there. `validator`: one of cyclopts', called with type and
    value. `convert`: from what people write to the value (`500MB`). `recorded`: how the manifest names a value that is
    no plain one, such as a model in memory. `typed_as`: the type on the command line, where Python takes more;
    `typed_default`: the default there, where it is another than in Python; `by_flag`: behind a flag there, though
    Python takes it by its place. `of_first`: it counts the first examples, which more is done for than for others.
    `formerly`: names it had before, which still work with a notice; `alias`: names that stay beside it.
    """

    help: str
    section: Section = Section.MEASURE
    common: bool = False
    identity: bool = True
    by_content: bool = False
    validator: Callable[[Any, Any], None] | None = None
    convert: Callable[[Any], Any] | None = None
    recorded: Callable[[Any], Any] | None = None
    typed_as: Any = None
    typed_default: Any = None
    by_flag: bool = False
    of_first: bool = False
    formerly: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    positional: bool = False,
    **more: Any,
) -> Any:
    """A field of a spec; without a default it must be given.

    `at_least`, `above`, `at_most`, `below`: its range. `more`: as in `Option`.
    """
    if any(bound is not None for bound in (at_least, above, at_most, below)):
        more["validator"] = Number(gte=at_least, gt=above, lte=at_most, lt=below)
    return field(default=default, kw_only=not positional, metadata={"option": Option(help, **more)})


example_option = partial(option, section=Section.EXAMPLES)
"""An option that says which examples a study takes."""
compute_option = partial(option, section=Section.COMPUTE, identity=False)
"""An option that says where a study is computed, which changes no result."""
write_option = partial(option, section=Section.WRITE, identity=False, common=True)
"""An option that says where results go."""


@final
@dataclass(frozen=True, slots=True)
class Declared:
    """An option as it stands in a spec class. `typed`: whether there is a command that takes it."""

    name: str
    type: Any
    default: Any
    positional: bool
    option: Option
    typed: bool = True

    @property
    def repeated(self) -> bool:
        """Whether it takes several values, each behind a flag of its own."""
        return any(_is_sequence(kind) for kind in _alternatives(self.type))

    @property
    def argument(self) -> bool:
        """Whether it is typed without a flag: what must be given, or one that takes any number of values."""
        return self.positional and not self.option.by_flag and (self.default is MISSING or self.repeated)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes; none where it takes any."""
        return _choices(self.type)

    @property
    def flag(self) -> str:
        """Its name on the command line: `window` is `--window`, and several `cuts` are given by `--cut`."""
        return flag_of(singular(self.name) if self.repeated else self.name)

    def checked(self, value: Any) -> Any:
        """`value` in its one form: converted, lists as tuples.

        **Errors:** `ChiasmError` for what is out of range or none of the choices.
        """
        if value is None:
            if self.default is not None and type(None) not in _alternatives(self.type):
                raise ChiasmError(self._asked(None), "it is no value", f"Give {_named(self.type)}")
            return None
        if self.repeated:
            several = (value,) if isinstance(value, str | Path | int | float) else value
            return tuple(self._one(item) for item in several)
        return self._one(value)

    def recorded(self, value: Any) -> Any:
        """`value` as plain JSON."""
        write = self.option.recorded or plain
        return [write(item) for item in value] if self.repeated and value is not None else write(value)

    def _asked(self, value: Any) -> str:
        """The option with `value`, as people write it."""
        return f"{self.flag} {value}" if self.typed else f"{self.name}={value!r}"

    def _one(self, value: Any) -> Any:
        if self.option.convert is not None:
            value = self.option.convert(value)
        if isinstance(value, str) and not value.strip() and Path in _alternatives(self.type):
            # An unset variable of a shell; as a path it would be the current folder.
            raise ChiasmError(self._asked(repr(value)), "it is empty", "Name a file or folder, or leave it out")
        if not _fits(value, self.type):
            asked = self._asked(repr(value) if self.typed else value)
            raise ChiasmError(asked, f"it is a {type(value).__name__}", f"Give {_named(self.type)}")
        if isinstance(value, str) and self.choices and value not in self.choices:
            todo = nearest(value, self.choices) or "Name one of those"
            raise ChiasmError(self._asked(value), f"there are {', '.join(self.choices)}", todo)
        if self.option.validator is not None and not isinstance(value, str):
            try:
                self.option.validator(type(value), value)
            except ValueError as error:
                found = f"it m{str(error).removeprefix('M').rstrip('.')}"
                raise ChiasmError(self._asked(value), found, "Give another number") from None
        return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of all specs: a frozen value, every option checked when it is made.

    `has_command`: whether its options are typed somewhere, as flags; otherwise they are arguments of a function alone.
    """

    has_command: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for one in declared(type(self)):
            object.__setattr__(self, one.name, one.checked(getattr(self, one.name)))

    def given(self) -> dict[str, Any]:
        """The options that are not at their declared default, as plain JSON."""
        if "_given" in vars(self):
            return dict(vars(self)["_given"])
        found = {}
        for one in declared(type(self)):
            value = getattr(self, one.name)
            if one.default is MISSING or value != one.checked(one.default):
                found[one.name] = one.recorded(value)
        return found

    def complete(self, **filled: Any) -> Self:
        """The same with what was left open filled in, which does not count as given."""
        new = dataclasses.replace(self, **filled)
        object.__setattr__(new, "_given", self.given())
        return new

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Self:
        """The spec of a manifest. Names that options had before are understood, options that are gone passed over."""
        known: dict[str, Any] = {}
        for one in declared(cls):
            for name in (one.name, *one.option.formerly):
                if name in recorded:
                    known.setdefault(one.name, recorded[name])
            if one.default is MISSING:
                known.setdefault(one.name, "")
        return cls(**known)


@cache
def declared(spec: type[Options]) -> tuple[Declared, ...]:
    """The options of a spec class, its own before those that it shares with others."""
    hints = get_type_hints(spec)
    found = [
        Declared(
            one.name, hints[one.name], one.default, not one.kw_only, one.metadata["option"], typed=spec.has_command
        )
        for one in fields(spec)
        if "option" in one.metadata
    ]
    own = set(inspect.get_annotations(spec))
    return tuple(sorted(found, key=lambda one: (not one.positional, one.name not in own)))


def resolved(spec: Options) -> dict[str, Any]:
    """What a run was asked, as plain JSON values: the options that decide about its rows."""
    return {one.name: one.recorded(getattr(spec, one.name)) for one in declared(type(spec)) if one.option.identity}


def spec_hash(spec: Options) -> str:
    """SHA-256 (first 16 hex digits) of the resolved spec: two runs with one hash asked the same thing.

    What options name by its place is left out: a run compares what lies there.
    """
    placed = {one.name for one in declared(type(spec)) if one.option.by_content}
    asked = {name: value for name, value in resolved(spec).items() if name not in placed}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """`value` (dataclasses, dictionaries, tuples, paths, scalars) as plain JSON values, keys in a fixed order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a spec holds plain values only, found {type(value).__name__}")


def singular(name: str) -> str:
    """The name of one of several: `cuts` gives `cut`, `queries` gives `query`."""
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


def flag_of(name: str) -> str:
    """The flag of an option's name."""
    return "--" + name.replace("_", "-")


def _alternatives(kind: Any) -> Iterator[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        for one in get_args(kind):
            yield from _alternatives(one)
    else:
        yield kind


def _choices(kind: Any) -> tuple[str, ...]:
    """The words that `kind` allows; none where it allows any."""
    found: list[str] = []
    for one in _alternatives(kind):
        if one in (str, Any, Path):
            return ()
        if get_origin(one) is Literal:
            found += [word for word in get_args(one) if isinstance(word, str)]
        elif _is_sequence(one):
            found += _choices(get_args(one)[0])
    return tuple(found)


def _fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of a plain type that `kind` names, or `kind` names others too, which are not checked."""
    found = [part for one in _alternatives(kind) for part in (get_args(one)[:1] if _is_sequence(one) else (one,))]
    plain_types = [str if get_origin(one) is Literal else one for one in found if one is not type(None)]
    if not all(one in (int, float, str, bool, Path) for one in plain_types):
        return True
    if isinstance(value, bool):
        return bool in plain_types
    wider = {int: Integral, float: Real}  # what arrays hold counts too
    return isinstance(value, tuple(wider.get(one, one) for one in plain_types))


def _named(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Path: "a path"}
    found = [part for one in _alternatives(kind) for part in (get_args(one)[:1] if _is_sequence(one) else (one,))]
    return " or ".join(dict.fromkeys(names[one] for one in found if one in names)) or "one of its choices"


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (Sequence, tuple)
