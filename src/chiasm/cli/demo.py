"""`chiasm demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.summary import JsonFlag
from chiasm.cli.verbs import announce, run_command

EXAMPLES = 180
"""Thirty of each of the six types: enough for an interval, and done in a minute on two cores."""
MAPS = 24
"""Maps of patches: enough to say in how many images one shows anything; six of them are drawn."""


def demo(
    *,
    out: Path = Path("runs/demo"),
    resume: Annotated[bool, Parameter(negative="")] = False,
    json: JsonFlag = False,
) -> None:
    """The main job on the embedded model and its embedded world, in under three minutes on two CPU cores.

        chiasm demo

    Parameters
    ----------
    out
        Run directory. A former demo there is replaced.
    resume
        Go on with an interrupted demo instead.
    """
    announce("chiasm demo: where the embedded model reads the image, on 180 questions, in under three minutes.")
    import torch

    from chiasm.studies.study import study

    # Products of matrices this small gain nothing from a second thread, and lose much where cores are shared: 40 s of
    # processor time with one thread, 181 s with two, on a busy machine. The next examples use the other core.
    torch.set_num_threads(1)
    options = {"model": "tiny", "limit": EXAMPLES, "window": 3, "patches": MAPS, "words": EXAMPLES}
    run_command(study("flow"), options | {"out": out, "resume": resume, "fresh": not resume, "json": json})
