"""What published methods leave out, as skips, and the layers that their rules choose."""

from collections.abc import Iterable

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import Choice, Form, Skip, SkipSpan, phase_of


def companion_layers(layers: int, *, start: int = 0, interval: int = 2, end: int | None = None) -> tuple[int, ...]:
    """The layers that the rule (start, interval) skips: `start < idx < end` and `idx % interval == 0`.

    `end`: None is the last layer, which is never skipped. Source: Shukor & Cord 2024 (Skipping Computations in
    Multimodal LLMs, arXiv 2410.09454), released code: interval 2 skips 15 of 32 layers, interval 4 skips 7.

    **Errors:** `ChiasmError` if no layer is left to skip.
    """
    if interval < 1:
        raise ChiasmError(f"the skip interval {interval}", "the least is 1", "Give a larger number")
    found = tuple(i for i in range(start + 1, layers - 1 if end is None else min(end, layers)) if i % interval == 0)
    if not found:
        raise ChiasmError(
            f"skip every {interval}. layer after layer {start} of {layers}", "no layer fits", "Start lower"
        )
    return found


def parallel_blocks(layers: int, *, start: int = 0, form: Form = "corrected") -> Skip:
    """Layers in pairs, both of which read the first one's input, from layer `start` on.

    Source: Shukor & Cord 2024 (arXiv 2410.09454), where outputs are averaged (`released`): that halves what both add.
    """
    return Skip(part="parallel-blocks", span="all", layers=tuple(range(start, layers - 1, 2)), phase="both", form=form)


def parallel_sublayers(layers: Iterable[int], *, form: Form = "corrected") -> Skip:
    """Attention and feed-forward of a layer read the same input, as in arXiv 2410.09454; nothing is left out."""
    return Skip(part="parallel", span="all", layers=tuple(layers), phase="both", form=form)


def visual_ffn(layers: Iterable[int], *, span: SkipSpan = "image", share: float = 1.0) -> Skip:
    """Feed-forward left out for perceptual tokens (or, to compare, for text): all of them, or a random share.

    Source: Shukor & Cord 2024 (Implicit Multimodal Alignment), figure 11; how they choose a share is unknown.
    """
    choice: Choice = "all" if share == 1 else "random"
    return Skip(part="ffn", span=span, layers=tuple(layers), share=share, choice=choice, phase=phase_of(span))


def short_v(layers: Iterable[int], *, span: SkipSpan = "image") -> Skip:
    """Image tokens frozen in chosen layers, still read by text. Source: Yuan et al. 2025 (ShortV, arXiv 2504.00502)."""
    return Skip(part="block", span=span, layers=tuple(layers))


def v_skip(layers: Iterable[int], *, span: SkipSpan = "image") -> Skip:
    """Image tokens do not attend in chosen layers, but keep their feed-forward. Source: V-Skip (arXiv 2606.08511)."""
    return Skip(part="attention", span=span, layers=tuple(layers))


def fast_v(layers: int, *, after: int = 2, share: float = 0.5, span: SkipSpan = "image") -> Skip:
    """The `share` of image tokens that the last row attends to least in layer `after - 1` is dropped from `after` on.

    Source: Chen et al. 2024 (FastV, arXiv 2403.06764): K = `after`, R = `share`; attention of the last row, as
    released.
    """
    return Skip(part="tokens", span=span, layers=tuple(range(after, layers)), share=share, choice="least-attention")


def random_drop(layers: int, *, after: int = 2, share: float = 0.5, seed: int = 0, span: SkipSpan = "image") -> Skip:
    """A random `share` of image tokens is dropped from layer `after` on: the control of every clever choice."""
    chosen: Choice = "random" if share < 1 else "all"
    return Skip(part="tokens", span=span, layers=tuple(range(after, layers)), share=share, choice=chosen, seed=seed)
