"""Ablations of a span's states as a user writes them: `ablate:mean@image`, `ablate:resample@image`."""

from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from chiasm.core.errors import ChiasmError
from chiasm.interventions.variants import Patch, Window

AblationMethod = Literal["mean", "resample"]
ABLATE: Final = "ablate:"
_READ: Final = ("last", "answer")


@dataclass(frozen=True, slots=True)
class StateAblation:
    """The states of a span (residual stream), replaced in the layers of a window; behind it they are its own again.

    So what all other rows read of the span in these layers holds nothing of this example, and attention is left open:
    `mean` puts the mean over examples in place of each state (mean ablation), `resample` another example's states
    (resample ablation). `text` is kept as typed and names the rows of the results.
    """

    method: AblationMethod
    span: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "StateAblation":
        """From `ablate:METHOD@SPAN`."""
        method, at, span = (part.strip() for part in text.removeprefix(ABLATE).partition("@"))
        if not (text.startswith(ABLATE) and at and span and "->" not in span and method in get_args(AblationMethod)):
            raise ChiasmError(
                f"state ablation `{text}`",
                "it is not of the form ablate:METHOD@SPAN with METHOD mean or resample",
                "Write for example `ablate:mean@image` or `ablate:resample@image`",
            )
        read = [part for part in (part.strip() for part in span.split("+")) if part in _READ]
        if read:
            raise ChiasmError(
                f"state ablation `{text}`",
                f"the answer is read from the states of `{read[0]}`, so that replacing them replaces the answer",
                "Name a span that the answer is read through, as image or question",
            )
        return cls(cast(AblationMethod, method), span, text)

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that it names."""
        return (self.span,)


def replaced(
    window: Window,
    layers: int,
    positions: tuple[int, ...],
    theirs: tuple[int, ...],
    *,
    donor: int,
    own: int | None,
) -> tuple[Patch, ...]:
    """In the layers of `window` the states of `positions` are those of the job's `donor` at `theirs`.

    In the `layers` behind the window they are the example's clean ones again, read from the donor `own`, which is the
    example itself; a window that reaches the last layer needs none.
    """
    patches = [Patch(window, "residual", positions, theirs, donor)]
    if window.stop < layers:
        assert own is not None
        behind = Window(window.stop, layers, window.stop)
        patches.append(Patch(behind, "residual", positions, positions, own))
    return tuple(patches)
