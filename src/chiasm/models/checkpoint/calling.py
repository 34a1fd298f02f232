"""Calls into transformers: its failures as errors that say what was asked, its progress bars where someone looks."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from huggingface_hub.errors import HFValidationError, StrictDataclassError
from safetensors import SafetensorError
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    get_verbosity,
    is_progress_bar_enabled,
    set_verbosity,
)

from chiasm.core.errors import ChiasmError, MissingExtraError

_FAILURES: Final = (
    *(OSError, ValueError, LookupError, SafetensorError, HFValidationError, StrictDataclassError, ImportError),
    # What a file of a checkpoint holds is used as it is, so a wrong value shows wherever it is first computed with.
    *(TypeError, AttributeError, NameError, ArithmeticError, AssertionError, RuntimeError, MemoryError),
)


@contextmanager
def bars_on_terminal() -> Iterator[None]:
    """transformers' progress bars only where someone watches standard error."""
    if not is_progress_bar_enabled() or sys.stderr.isatty():
        yield
        return
    disable_progress_bar()
    try:
        yield
    finally:
        enable_progress_bar()


@contextmanager
def without_reports() -> Iterator[None]:
    """transformers' tables of missing weights are not printed: who asked for its loading info says it in words."""
    before = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)


@contextmanager
def failing_as(asked: str, local: bool, found: str) -> Iterator[None]:
    """Failures of transformers within are a `ChiasmError` whose finding is `found` and the reason in brackets."""
    try:
        with bars_on_terminal():
            yield
    except _FAILURES as error:
        text = str(error)
        if isinstance(error, ImportError) and "torchvision" in text:
            raise MissingExtraError(asked, "torchvision", "torchvision") from error
        first = next((line for line in text.splitlines() if line.strip()), type(error).__name__).strip().rstrip(".")
        if "trust_remote_code" in text:
            todo = "If you trust its authors, give --trust-remote-code, which runs their code"
        elif isinstance(error, ImportError):
            todo = "Install the package that it names"
        elif local:
            todo = "Save model and processor with `save_pretrained`"
        else:
            todo = "Check the name and the network, or name a local directory"
        raise ChiasmError(asked, f"{found} ({first})", todo) from error


def read_pretrained(asked: str, local: bool, what: str, reader: Any, where: str, **options: Any) -> Any:
    """One call into transformers, its failures as `ChiasmError`."""
    with failing_as(asked, local, f"{what} cannot be read"):
        return reader(where, **options)
