"""The entry point: exit codes, and which errors keep their traceback.

Nothing but Python's own modules is imported before `main` has begun, so that a user who thinks better of it at once is
answered as later: what the command line needs takes a third of a second to import.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, 1 (something is broken), 2 (a mistake in what was asked) or 130."""
    try:
        _open_standard_files()
        # transformers' advice is for people who write code with it; ours is in our own words.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        signal.signal(signal.SIGTERM, _as_interrupt)
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt as stop:
        _say("\n".join(("", *(vars(stop).get("__notes__") or ("Interrupted.",)))))
        sys.exit(130)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """What the words ask for, and the exit code."""
    from cyclopts.exceptions import CycloptsError

    from chiasm.cli.application import application, explained
    from chiasm.cli.former import in_todays_words
    from chiasm.cli.verbs import logging_to_terminal
    from chiasm.core.errors import ChiasmError

    try:
        words = in_todays_words(arguments)
        with logging_to_terminal():
            app = application(words, every="--help-all" in words)
            code = app(words, exit_on_error=False, error_formatter=explained)
        sys.stdout.flush()
    except ChiasmError as error:
        _say(f"chiasm: {error}")
        return 2
    except CycloptsError:  # printed by the library
        return 2
    except BrokenPipeError:
        # Whoever read the output has read enough, as `head` does.
        _drop_output()
        return 141
    except OSError as error:
        # A disk, a folder, a terminal: nothing that a traceback through this program would explain.
        if error.errno is None:
            raise
        from chiasm.core.text import printable

        where = f"`{error.filename}`" if error.filename else "a file, or standard output,"
        _say(f"chiasm: {printable(where)} cannot be used: {error.strerror}. Finished parts of a run are kept: --resume")
        _drop_output()
        return 2
    return code or 0


def _open_standard_files() -> None:
    """Standard files that were closed are opened on nothing: the next file opened would take their place."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (for the life of the process)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, and the exit code still says it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _drop_output() -> None:
    """What is left to be written on standard output must not fail again on the way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    """A batch system's kind request to stop is handled as the user's."""
    raise KeyboardInterrupt
