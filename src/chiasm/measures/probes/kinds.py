"""Which classifiers read a representation (a line, the paper's MLP, the released code's MLP), and where. No torch."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chiasm.core.errors import ChiasmError

CLS, PRE, POST = "cls", "pre", "post"
"""The tower's summary, and the mean token before and after the projector."""
_HIDDEN: Final = (2048, 1536, 1024, 512, 256)
_MIN_WIDTH: Final = 32
_WIDTH: Final = 4096
_MAX_RATE: Final = 3e-3


@dataclass(frozen=True, slots=True)
class Probe:
    """A classifier with ReLU between its layers, trained by Adam on mini-batches of standardised inputs.

    `hidden`: widths of its hidden layers. `patience`: epochs without a lower validation loss after which it stops and
    goes back to the best (0: all `epochs`, and the last counts).
    """

    name: str
    hidden: tuple[int, ...]
    rate: float
    batch: int
    epochs: int
    patience: int

    def sizes(self, width: int, classes: int) -> tuple[int, ...]:
        """Widths from input to output."""
        return (width, *self.hidden, classes)

    def parameters(self, width: int, classes: int) -> int:
        """How many numbers it learns."""
        sizes = self.sizes(width, classes)
        return sum((a + 1) * b for a, b in pairwise(sizes))


PROBES: Final = ("linear", "mlp-paper", "mlp-code")


def probe_of(name: str, width: int) -> Probe:
    """The probe called `name` for a decoder of this `width`.

    `linear`: multinomial logistic regression, held back by early stopping. `mlp-paper`: hidden layers of 2048, 1536,
    1024, 512 and 256, batch 128, Adam at 1e-4, early stopping on the validation loss; its patience is unknown and ours
    is 10. `mlp-code`: the same layers in batches of 32 at 1e-3 for 100 epochs, the last of which counts.

    Those widths and rates are for a decoder of width 4096, where the MLP has two thirds of the projector's parameters.
    For another, widths are multiplied by width / 4096 (never below 32) and rates by the inverse (never above 3e-3):
    the proportion of probe to projector stays, and Adam moves matrices alike. It does not keep all that a probe can
    read: at width 128 the published widths read 5 to 8 points more of the pooled states, at 270 times the time.

    Source: Verma et al. 2024, section 3 and appendix A.3; `estimate_richness/train_mlp.py` of their code.

    **Errors:** `ChiasmError` naming the ones there are.
    """
    scale = width / _WIDTH
    hidden = tuple(max(_MIN_WIDTH, round(size * scale)) for size in _HIDDEN)
    match name:
        case "linear":
            return Probe(name, (), min(1e-2, 3e-4 / scale), 128, 200, 10)
        case "mlp-paper":
            return Probe(name, hidden, min(_MAX_RATE, 1e-4 / scale), 128, 200, 10)
        case "mlp-code":
            return Probe(name, hidden, min(_MAX_RATE, 1e-3 / scale), 32, 100, 0)
    raise ChiasmError(f"the probe `{name}`", f"there are {', '.join(PROBES)}", "Name one of those")
