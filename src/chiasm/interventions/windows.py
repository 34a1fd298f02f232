"""Ranges of decoder layers, 0-based and half-open."""

from typing import NamedTuple


class Window(NamedTuple):
    """Layers `start .. stop-1`. `centre` is the layer it is drawn at."""

    start: int
    stop: int
    centre: int

    def __contains__(self, layer: object) -> bool:
        return isinstance(layer, int) and self.start <= layer < self.stop


def centred(layers: int, width: int) -> tuple[Window, ...]:
    """One window of `width` layers around every layer, clipped at the ends, not shifted.

    Source: Zhang et al. 2025 (Cross-modal Information Flow), section 3 and released code:
    `max(0, l - K//2) .. min(L, l + ceil(K/2))`. An even width leans to the lower layers.
    """
    if width < 1:
        raise ValueError(f"a window has at least one layer, got {width}")
    return tuple(Window(max(0, c - width // 2), min(layers, c + (width + 1) // 2), c) for c in range(layers))


def prefixes(layers: int) -> tuple[Window, ...]:
    """Layers `0 .. l` for every l, drawn at their last layer."""
    return tuple(Window(0, stop, stop - 1) for stop in range(1, layers + 1))


def suffixes(layers: int) -> tuple[Window, ...]:
    """Layers `l .. L-1` for every l, drawn at their first layer."""
    return tuple(Window(start, layers, start) for start in range(layers))


def all_windows(layers: int) -> tuple[Window, ...]:
    """Every contiguous range of layers: L(L+1)/2 windows."""
    return tuple(Window(a, b, (a + b - 1) // 2) for a in range(layers) for b in range(a + 1, layers + 1))
