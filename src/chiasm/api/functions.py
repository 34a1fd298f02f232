"""Functions made from specs: signature, types and help of each are those of its options."""

import difflib
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from chiasm.core.errors import ChiasmError
from chiasm.core.options import MISSING, Declared, Options, Section, declared, singular

P = ParamSpec("P")
S = TypeVar("S", bound=Options)
R = TypeVar("R")


def function_of(
    name: str, spec: Callable[P, S], compute: Callable[[S], R], returns: Any, note: str = "", called: str = ""
) -> Callable[P, R]:
    """The function called `name`: its parameters are the options of `spec`, its help is theirs, and `note`.

    `called`: what errors call it; by default what people type, `chiasm.NAME`.

    Options by a name that they had before are taken, with a warning.
    """
    kind: Any = spec
    called = called or f"chiasm.{name}"
    former = {old: one.name for one in declared(kind) for old in (*one.option.formerly, *one.option.alias)}
    order = {one.name: place for place, one in enumerate(declared(kind))}
    signature = inspect.signature(kind)
    parameters = sorted(signature.parameters.values(), key=lambda one: (one.kind, order[one.name]))
    signature = signature.replace(parameters=parameters, return_annotation=returns)

    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = dict(kwargs)
        if given.pop("say", None) is not None:
            warnings.warn("`say=` is gone: messages go to the logger `chiasm`", FutureWarning, stacklevel=2)
        for old, new in former.items():
            if old in given:
                if new in given:
                    raise ChiasmError(f"{called}({old}=..., {new}=...)", "both name one option", f"Give {new} alone")
                warnings.warn(f"`{old}=` is `{new}=` now", FutureWarning, stacklevel=2)
                given[new] = given.pop(old)
        try:
            bound = signature.bind(*args, **given)
        except TypeError as error:
            raise TypeError(f"{called}() {error}{_hints(given, order)}") from None
        return compute(kind(**bound.arguments))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "\n\n".join(part for part in (described(kind), note) if part)
    vars(function)["__signature__"] = signature
    return function


def _hints(given: Iterable[str], known: Iterable[str]) -> str:
    """For every name that is none of the `known`: which of them it is as a flag, or is most like."""
    known = list(known)
    flags = {singular(one): one for one in known if singular(one) not in known}
    hints = []
    for wrong in given:
        if wrong in flags:
            hints.append(f"; `--{wrong.replace('_', '-')}` is `{flags[wrong]}=` here")
        elif wrong not in known and (near := difflib.get_close_matches(wrong, [*known, *flags], n=1)):
            hints.append(f"; did you mean `{flags.get(near[0], near[0])}=`?")
    return "".join(hints)


def described(spec: type[Options]) -> str:
    """The help of a spec: what is answered, and every option with its meaning."""
    parts = [inspect.cleandoc(spec.__doc__ or "")]
    for section in Section:
        options = [one for one in declared(spec) if one.option.section is section]
        if options:
            lines = [f"- `{one.name}`{_taken(one)}: {one.option.help}" for one in options]
            parts.append("\n".join([f"**{section}:**", "", *lines]))
    return "\n\n".join(parts)


def _taken(one: Declared) -> str:
    """In brackets the words that an option takes, and its default, as far as there are any."""
    words = " or ".join(map(repr, one.choices))
    default = "" if one.default is MISSING or one.default is None else f"default {one.default!r}"
    found = "; ".join(part for part in (words, default) if part)
    return f" ({found})" if found else ""
