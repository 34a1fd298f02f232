"""What the command line cannot read, as an error of ours: what was asked, what was found, what to do."""

import difflib
from collections.abc import Iterable, Sequence

from cyclopts.exceptions import CycloptsError, UnknownOptionError

from chiasm.core.errors import ChiasmError
from chiasm.core.options import declared
from chiasm.studies.study import is_study, study, verbs

_NEAR = 0.7
"""How alike a slip and the name that is offered are at least: of short words some letters are always the same."""


def mistake_of(error: CycloptsError, typed: Sequence[str]) -> ChiasmError:
    """The error behind one of the library's. `typed`: the words of the command line."""
    chain = error.command_chain or ()
    asked = " ".join(("chiasm", *typed))
    todo = f"See `{' '.join(('chiasm', *chain, '--help-all' if chain and is_study(chain[0]) else '--help'))}`"
    if isinstance(error, UnknownOptionError):
        return _of_option(asked, error, todo)
    # The library's own words end with what it would offer.
    found, _, offered = str(error).strip().partition(" Did you mean ")
    found = found.removesuffix(", ...").rstrip(".")
    return ChiasmError(asked, found, f"Did you mean {offered}" if offered else todo)


def _of_option(asked: str, error: UnknownOptionError, todo: str) -> ChiasmError:
    """Of an option that this command has not: the nearest that it has, or which commands have one of that name."""
    option = error.token.keyword or error.token.value or ""
    chain = error.command_chain or ()
    found = f"Unknown option: {option}"
    others = {verb: _flags(verb) for verb in verbs() if verb not in chain}
    elsewhere = set().union(*others.values())
    wanted = option if option in elsewhere else ""
    if not wanted:
        if near := _nearest(option, {name for one in error.argument_collection for name in one.names}):
            return ChiasmError(asked, found, f"Did you mean {near}?")
        wanted = _nearest(option, elsewhere)
    have = [f"`chiasm {verb}`" for verb, flags in others.items() if wanted in flags]
    if not have:
        return ChiasmError(asked, found, todo)
    what = "it" if wanted == option else wanted
    listed = " and ".join(part for part in (", ".join(have[:-1]), have[-1]) if part)
    several = f"{listed} {'has' if len(have) == 1 else 'have'} {what}"
    return ChiasmError(asked, f"{found}. {several}", f"For what can be given here, s{todo.removeprefix('S')}")


def _nearest(option: str, known: Iterable[str]) -> str:
    """The flag that is most like a slip, without the dashes, which all have; empty where none is."""
    names = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(option.lstrip("-"), names, n=1, cutoff=_NEAR)
    return names[near[0]] if near else ""


def _flags(verb: str) -> set[str]:
    try:
        return {one.flag for one in declared(study(verb).spec)}
    except ChiasmError:  # a broken study of another package has nothing to do with the mistake
        return set()
