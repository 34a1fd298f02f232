"""The functions behind `import chiasm`, one for each study, made from its spec: signature, types and help."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

from chiasm.core.errors import ChiasmError
from chiasm.core.options import MISSING, Options, Section, declared, singular
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.compare.spec import CompareSpec
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.paper.spec import PaperSpec
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.run import Run, run_study
from chiasm.studies.skip.spec import SkipSpec

P = ParamSpec("P")


def study_function(verb: str, spec: Callable[P, Options], name: str = "") -> Callable[P, Run]:
    """The function of a study: its parameters are the options of `spec`, its help is theirs.

    Options by a name that they had before are taken, with a warning.
    """
    kind: Any = spec
    former = {old: one.name for one in declared(kind) for old in (*one.option.formerly, *one.option.alias)}
    order = {one.name: place for place, one in enumerate(declared(kind))}
    signature = inspect.signature(kind)
    parameters = sorted(signature.parameters.values(), key=lambda one: (one.kind, order[one.name]))
    signature = signature.replace(parameters=parameters, return_annotation=Run)
    called = name or verb

    def function(*args: P.args, **kwargs: P.kwargs) -> Run:
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
            flags = {singular(one): one for one in order if singular(one) not in order}
            hints = [f"; `--{wrong.replace('_', '-')}` is `{flags[wrong]}=` here" for wrong in given if wrong in flags]
            raise TypeError(f"{called}() {error}{''.join(hints)}") from None
        return run_study(verb, **bound.arguments)

    function.__name__ = function.__qualname__ = called
    function.__doc__ = described(kind)
    vars(function)["__signature__"] = signature
    return function


def described(spec: type[Options]) -> str:
    """The help of a spec: what the study answers, and every option with its meaning."""
    parts = [inspect.cleandoc(spec.__doc__ or "")]
    for section in Section:
        options = [one for one in declared(spec) if one.option.section is section]
        if options:
            lines = [f"- `{one.name}`{_default(one.default)}: {one.option.help}" for one in options]
            parts.append("\n".join([f"**{section}:**", "", *lines]))
    parts.append(
        "`out=None` writes into a temporary directory that goes with the returned `Run`; nothing is drawn until asked."
    )
    return "\n\n".join(parts)


def _default(default: Any) -> str:
    return "" if default is MISSING or default is None else f" (default {default!r})"


flow = study_function("flow", FlowSpec)
look = study_function("look", LookSpec)
align = study_function("align", AlignSpec)
compare = study_function("compare", CompareSpec)
paper = study_function("paper", PaperSpec)
skip = study_function("skip", SkipSpec)
prune = study_function("prune", PruneSpec)
project = study_function("project", ProjectSpec)
evaluate = study_function("eval", EvalSpec, "evaluate")
