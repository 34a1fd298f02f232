"""The entry point: verbs, exit codes, and which errors keep their traceback."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from types import FrameType

from cyclopts import App

from chiasm.cli.align import align
from chiasm.cli.check import check
from chiasm.cli.demo import demo
from chiasm.cli.doctor import doctor
from chiasm.cli.eval import evaluate
from chiasm.cli.flow import flow
from chiasm.cli.look import look
from chiasm.cli.models import models
from chiasm.cli.project import project
from chiasm.cli.prune import prune
from chiasm.cli.report import report
from chiasm.cli.skip import skip
from chiasm.core.errors import ChiasmError

_HELP = """See what a multimodal LLM does with what it sees.

Begin with the embedded model, then take your own:

    chiasm demo
    chiasm flow llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 100

`chiasm VERB --help` shows examples.
"""

app = App(
    name="chiasm",
    help=_HELP,
    help_format="markdown",
    version=lambda: metadata.version("chiasm"),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for verb in (demo, flow, look, align, skip, prune, project, report, models, check, doctor):
    app.command(verb)
app.command(evaluate, name="eval")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, 1 (something is broken), 2 (a mistake in what was asked) or 130."""
    # transformers' advice is for people who write code with it; ours is in our own words.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        code = app(arguments)
    except ChiasmError as error:
        print(f"chiasm: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print("\n".join(("", *(vars(stop).get("__notes__") or ("Interrupted.",)))), file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    """A batch system's kind request to stop is handled as the user's."""
    raise KeyboardInterrupt
