"""The verbs of the command line that are made from specs: studies, and `chiasm check`."""

import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from cyclopts import Group, Parameter

from chiasm.cli.summary import AS_JSON, print_run
from chiasm.core.interruption import require_uninterrupted
from chiasm.core.options import MISSING, Declared, Options, Section, declared, flag_of
from chiasm.core.text import printable
from chiasm.studies.names import require_names
from chiasm.studies.options import StudySpec
from chiasm.studies.study import Study

S = TypeVar("S", bound=Options)

_ARGUMENTS = "Arguments"  # the group that cyclopts makes for what has no flag
_GROUPS = {section: Group.create_ordered(section) for section in Section}
_log = logging.getLogger("chiasm")


def command(study: Study, *, every: bool = False) -> Callable[..., int | None]:
    """The command of a study. `every`: help shows all options, not only those that most people need."""
    return command_of(study.verb, study.spec, partial(run_command, study), json=AS_JSON, every=every)


def command_of(
    name: str,
    spec: type[Options],
    run: Callable[[dict[str, Any]], int | None],
    *,
    json: str,
    every: bool = True,
    help: str = "",
    more: type[Options] | None = None,
) -> Callable[..., int | None]:
    """The command called `name`, whose options are those of `spec`; `run` takes them as typed, by name.

    `json`: what is printed with `--json`, an option that every command has and no function in Python. `help`: in place
    of the spec's own. `more`: options that the command has besides.
    """
    options = [*declared(spec), *(declared(more) if more is not None else ())]
    parameters = [*(_parameter(one, every) for one in options), _json_parameter(json)]

    def typed(*positional: Any, **named: Any) -> int | None:
        first = parameters[0]
        several = first.kind is inspect.Parameter.VAR_POSITIONAL
        given = {first.name: positional} if several else {p.name: v for p, v in zip(parameters, positional)}
        return run(given | named)

    typed.__name__ = name
    typed.__doc__ = help or inspect.cleandoc(spec.__doc__ or "")
    vars(typed)["__signature__"] = inspect.Signature(parameters)
    typed.__annotations__ = {p.name: p.annotation for p in parameters}
    return typed


def spec_of(kind: type[S], given: dict[str, Any]) -> S:
    """The spec of options as typed; what was not is left to it, which knows its defaults, or what to say without."""
    required = {one.name for one in declared(kind) if one.default is MISSING}
    return kind(**{name: v for name, v in given.items() if v not in (None, ()) or name in required})


def run_command(study: Study, given: dict[str, Any]) -> None:
    """Run a study with options as typed, and print what was found and where the report is."""
    json = given.pop("json", False)
    spec = typed_spec(study, given)
    about = " on ".join(word for word in spec.title() if word)
    announce(f"chiasm {study.verb}{f' of {about}' if about else ''}, into {spec.out}. The model is loaded first.")
    from chiasm.studies.run import finished

    require_uninterrupted()
    directory = study.run(spec)
    _log.info("Computed; drawing the report.")
    print_run(finished(directory, spec.out), json)


def typed_spec(study: Study, given: dict[str, Any]) -> StudySpec:
    """The spec of options as typed, with what is another default on the command line than in Python."""
    spec = spec_of(study.spec, given)
    typed = {one.name: one.option.typed_default for one in declared(study.spec) if one.option.typed_default is not None}
    filled = {name: value for name, value in typed.items() if given.get(name) is None}
    if spec.out is None:
        filled["out"] = directory_of(study, spec.title())
    spec = spec.complete(**filled)
    require_names(spec)
    return spec


def announce(text: str) -> None:
    """Say what is about to happen, before what takes seconds to import: mistakes in options were reported by now."""
    _log.info(text)


def directory_of(study: Study, words: Sequence[str]) -> Path:
    """`runs/STUDY-MODEL-DATA`, so that --resume finds it again."""
    named = [study.verb, *(word for word in words if word)]
    return Path("runs") / "-".join(re.sub(r"[^\w.@]+", "-", word) for word in named)


class _PrintableFormatter(logging.Formatter):
    """What is logged may quote data, and goes to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def logging_to_terminal() -> Iterator[None]:
    """What studies report while they run goes to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logger = logging.getLogger("chiasm")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _parameter(one: Declared, every: bool) -> inspect.Parameter:
    kind = _typed(one)
    names = [one.flag, *(flag_of(name) for name in one.option.alias)]
    positional = one.argument
    described = Parameter(
        name=None if positional else names,
        help=one.option.help,
        group=_ARGUMENTS if positional else _GROUPS[one.option.section],
        show=positional or every or one.option.common,
        negative="" if one.default is not True else None,
        show_default=not one.repeated and not any(_default(one) is none for none in (None, MISSING, False, "")),
    )
    return inspect.Parameter(
        one.name,
        _place(one, positional),
        default=inspect.Parameter.empty if positional else (() if one.repeated else _default(one)),
        annotation=Annotated[kind, described],
    )


def _json_parameter(help: str) -> inspect.Parameter:
    described = Parameter(name="--json", help=help, group=_GROUPS[Section.WRITE], negative="", show_default=False)
    return inspect.Parameter(
        "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, described]
    )


def _default(one: Declared) -> Any:
    return one.default if one.option.typed_default is None else one.option.typed_default


def _place(one: Declared, positional: bool) -> Any:
    if not positional:
        return inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter.VAR_POSITIONAL if one.repeated else inspect.Parameter.POSITIONAL_ONLY


def _typed(one: Declared) -> Any:
    """The type on the command line: what Python takes in memory is a name there, several are a tuple."""
    if one.option.typed_as is not None:
        return one.option.typed_as
    if not one.repeated:
        return one.type
    for part in (one.type, *get_args(one.type)):
        if get_origin(part) is not None and issubclass(get_origin(part), Sequence):
            return tuple[get_args(part)[0], ...]
    return one.type
