"""The facade behind `import chiasm`: everything that the command line does, one call away in a notebook."""

from pathlib import Path

from chiasm.api.aligning import align
from chiasm.api.comparing import compare
from chiasm.api.evals import check, evaluate
from chiasm.api.flows import flow
from chiasm.api.inside import attribute, concepts, neurons
from chiasm.api.looking import look
from chiasm.api.papering import paper
from chiasm.api.projecting import project
from chiasm.api.pruning import prune
from chiasm.api.recovering import recover
from chiasm.api.shared import SCENES, Data, Model, load
from chiasm.api.skipping import apply, read_plan, remove, save, skip
from chiasm.data import examples
from chiasm.results.rundir import RunDirectory
from chiasm.studies.run import Run


def open_run(path: str | Path) -> Run:
    """A run directory, finished or not.

    **Errors:** `ChiasmError` if there is none.
    """
    return Run(RunDirectory.load(path))
