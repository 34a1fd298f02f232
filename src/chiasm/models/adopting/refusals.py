"""What can be refused from a configuration alone, and how a refusal is put."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.text import reason_of
from chiasm.models.architecture import model_class
from chiasm.models.conformance.trial import BrokenLawError, NotApplicableError
from chiasm.models.families import unsupported_error

_MISSING: Final = re.compile(r"'(?P<kind>\w+)' object has no attribute '(?P<name>\w+)'")


def require_answerable(config: Any) -> None:
    """Refuse from the configuration alone what no generic rule can answer, before any weight is read.

    **Errors:** `ChiasmError` with the nearest supported family.
    """
    if config.is_encoder_decoder or config.get_text_config(decoder=True).is_encoder_decoder:
        raise unsupported_error(
            config, "an encoder-decoder: an encoder and a decoder, where the rules know one stack of layers"
        )
    if type(config).__module__.startswith("transformers.") and model_class(type(config)) is None:
        raise unsupported_error(config, "which transformers maps to no model that sees or listens and answers in words")


def require_questions(processor: type, config: Any) -> None:
    """Refuse a class of processors that takes no text, so that nothing can be asked about an input.

    **Errors:** `ChiasmError` with the nearest supported family.
    """
    taken = inspect.signature(processor.__call__).parameters
    if "text" not in taken:
        named = ", ".join(f"`{name}`" for name in list(taken)[1:2])
        raise unsupported_error(config, f"whose processor takes {named} and no text: nothing can be asked about it")


class UnansweredError(Exception):
    """A trial found that the rules do not answer the model: the reason in words.

    `foreign`: it is what the model's or the processor's own code raised, and not what the trial saw. `reached`: how
    many checks were passed before, of which several ways of calling are given the same.
    """

    def __init__(self, reason: str, *, foreign: bool = False, reached: int = 0) -> None:
        super().__init__(reason)
        self.foreign, self.reached = foreign, reached


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Within: whatever a strange model or processor raises is the reason why `what` is not answered.

    **Errors:** `UnansweredError`; a device without memory passes.
    """
    try:
        yield
    except (UnansweredError, torch.OutOfMemoryError):
        raise
    except ChiasmError as error:
        raise UnansweredError(f"{what}: {error.asked}: {error.found}") from error
    except (ExampleError, BrokenLawError, NotApplicableError) as error:
        cause = error.__cause__
        reason = f"{what}: {error if cause is None else described(cause)}"
        raise UnansweredError(reason, foreign=cause is not None) from error
    except Exception as error:
        raise UnansweredError(f"{what}: {described(error)}", foreign=True) from error


def described(error: BaseException) -> str:
    """A foreign error in a line: whose it is, its kind, and what it says."""
    line = " ".join(str(error).split())
    if missing := _MISSING.fullmatch(line):
        return f"its own code looks for `{missing['name']}` in a `{missing['kind']}`, which has none"
    return f"its own code raised {type(error).__name__}: {line[:240]}" if line else reason_of(error)
