"""The functions behind `import chiasm`, one for each study, made from its spec."""

from collections.abc import Callable
from typing import ParamSpec

from chiasm.api.functions import function_of
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.compare.spec import CompareSpec
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.look.spec import LookSpec
from chiasm.studies.names import require_names
from chiasm.studies.options import StudySpec
from chiasm.studies.paper.spec import PaperSpec
from chiasm.studies.patch.spec import PatchSpec
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.run import Run, finished
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.study import study

P = ParamSpec("P")
_TEMPORARY = (
    "`out=None` writes into a temporary directory that goes with the returned `Run`; nothing is drawn until asked."
)


def study_function(verb: str, spec: Callable[P, StudySpec], name: str = "") -> Callable[P, Run]:
    """The function of a study: its parameters are the options of `spec`, its help is theirs."""

    def run(spec: StudySpec) -> Run:
        require_names(spec)
        return finished(study(verb).run(spec), spec.out)

    return function_of(name or verb, spec, run, Run, _TEMPORARY, called=f"chiasm.{verb}")


flow = study_function("flow", FlowSpec)
look = study_function("look", LookSpec)
patch = study_function("patch", PatchSpec)
align = study_function("align", AlignSpec)
compare = study_function("compare", CompareSpec)
paper = study_function("paper", PaperSpec)
skip = study_function("skip", SkipSpec)
prune = study_function("prune", PruneSpec)
project = study_function("project", ProjectSpec)
evaluate = study_function("eval", EvalSpec, "evaluate")
