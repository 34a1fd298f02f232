"""`chiasm plan`: what a run takes, before it is run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cyclopts import App

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce, command_of, spec_of, typed_spec
from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, Section, option
from chiasm.studies.study import Study, is_study, study, verbs

_HELP = """Time, memory, disk and price of a run, before it is run.

Takes a verb and its options. Small runs of the first examples are made in a temporary directory, and extrapolated.

    chiasm plan flow tiny --limit 5000
    chiasm plan eval llava-hf/llava-1.5-7b-hf --data my.jsonl --hourly 2.50
"""
_JSON = (
    "Print one object for programs in place of words: `study`, `examples`, `device`, `threads`, `loading_seconds`, of "
    "`seconds`, `processor_seconds` and `disk_bytes` the estimate with `least` and `most`, `memory_bytes`, "
    "`device_memory_bytes`, `price`, `trials`."
)


@dataclass(frozen=True, kw_only=True)
class PlanOptions(Options):
    """What `chiasm plan` takes besides the options of the verb."""

    seconds: float = option(
        20.0,
        "That the small runs take, as far as the study allows: what it does once is done in each of them.",
        above=0,
        section=Section.COMPUTE,
        common=True,
    )
    hourly: float | None = option(
        None,
        "Price of an hour of this machine, in any currency, to give that of the run.",
        at_least=0,
        section=Section.COMPUTE,
        common=True,
    )


def plan_application(arguments: Sequence[str], *, every: bool) -> App:
    """`chiasm plan` for what follows it: where that begins with a verb, with this one alone."""
    app = App(name="plan", help=_HELP, help_format="markdown")
    first = arguments[0] if arguments else ""
    for verb in [first] if is_study(first) else verbs():
        try:
            app.command(_command(study(verb), every), name=verb)
        except ChiasmError:
            # A broken study of another package is named where its verb is listed, and must not take the others along.
            if verb == first:
                raise
    return app


def _command(study: Study, every: bool) -> Callable[..., int | None]:
    about = f"What `chiasm {study.verb}` with these options will take: time, memory, disk and price."
    run = partial(_plan, study)
    return command_of(study.verb, study.spec, run, json=_JSON, every=every, help=about, more=PlanOptions)


def _plan(study: Study, given: dict[str, Any]) -> None:
    json, since = given.pop("json", False), (time.monotonic(), time.process_time())
    own = spec_of(PlanOptions, {name: given.pop(name, None) for name in ("seconds", "hourly")})
    spec = typed_spec(study, given)
    announce(f"chiasm plan {study.verb}: small runs of it for about {own.seconds:g} s. The model is loaded first.")
    from chiasm.studies.trial import forecast

    found = forecast(study, spec, own.seconds, since)
    if json:
        price = None if own.hourly is None else found.price(own.hourly)
        print_json(found.facts() | {"price": price})
        return
    from chiasm.cli.console import words

    console = words()
    for line in found.lines(own.hourly):
        console.print(line)
