"""Changes of the same size that should not matter, and smaller ones that should matter less."""

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from chiasm.interventions import BlockedAttention, Window, ZeroedBranch
from chiasm.studies.flow.tables import SIZE_MATCHED, dose

DOSES = (0.25, 0.5, 0.75)
# Of fewer keys a quarter is none, or three quarters are all.
_FEWEST = 4

ChangeIn = Callable[[Window], BlockedAttention | ZeroedBranch]


def random_controls(
    change: BlockedAttention | ZeroedBranch, length: int, draws: int, key: tuple[int, str, str]
) -> Iterator[tuple[str, int, ChangeIn]]:
    """(control, sample, change in a window) beside `change`, the same positions for every window.

    Where the complement holds as many keys, the size-matched control draws from it; the complement is what every
    target row can see, without the cut's own keys, the target rows, and the first position, which models use as an
    attention sink. Where it is too small no size-matched control exists, and the dose control cuts a growing random
    share of the cut's own keys instead, each share containing the smaller ones.

    `key`: (seed, example, cut), so that the draw depends on nothing else.
    """
    own = np.array(change.keys if isinstance(change, BlockedAttention) else change.positions)
    complement = _complement(change, own, length)
    for sample in range(draws):
        rng = np.random.default_rng([key[0], zlib.crc32(key[1].encode()), zlib.crc32(key[2].encode()), sample])
        if len(complement) >= len(own):
            yield SIZE_MATCHED, sample, _with(change, rng.choice(complement, len(own), replace=False))
            continue
        order = rng.permutation(own)
        for share in DOSES if len(own) >= _FEWEST else ():
            yield dose(share), sample, _with(change, order[: round(share * len(own))])


def _complement(change: BlockedAttention | ZeroedBranch, own: np.ndarray, length: int) -> np.ndarray:
    """Positions that could be changed in place of `own`, ascending."""
    if isinstance(change, BlockedAttention):
        # A key after the first target row is hidden from that row, so cutting it would be a smaller change.
        return np.setdiff1d(np.arange(1, min(change.queries)), own)
    return np.setdiff1d(np.arange(1, length - 1), own)


def _with(change: BlockedAttention | ZeroedBranch, positions: np.ndarray) -> ChangeIn:
    chosen = tuple(sorted(int(p) for p in positions))
    if isinstance(change, BlockedAttention):
        return lambda window: BlockedAttention(window, change.queries, chosen)
    return lambda window: ZeroedBranch(window, change.component, chosen)
