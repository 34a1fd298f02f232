"""How many rows one layer call should hold: `python -m bench.chunks` (one minute).

Few rows waste matrix products; many rows waste attention, because rows of different variants in one call do not see
each other and are computed all the same. `MAX_ROWS` in `chiasm.models.executors.memory` is read off this table.
"""

import torch
from cyclopts import App
from rich.console import Console

from bench.measure import Summary, timed
from bench.report import Sheet
from bench.shapes import SHAPES, build, spans_of
from chiasm.models.executors.walk import ContextCache

app = App(name="bench.chunks", help=__doc__, help_format="plaintext")


@app.default
@torch.no_grad()
def chunks(*, shape: str = "small", rows: tuple[int, ...] = (), repeats: int = 7, threads: int = 1) -> None:
    """Time a decoder layer on chunks of rows beside the clean keys and values of a whole prompt.

    rows: the sizes to try; by default 1 to 32 tails of a question.
    """
    torch.set_num_threads(threads)
    chosen = SHAPES[shape]
    tail = chosen.length - int(spans_of(chosen)["question"][0])
    model = build(chosen)
    layer, rotary = model.model.language_model.layers[0], model.model.language_model.rotary_emb
    lines = []
    for n in rows or [tail * k for k in (1, 2, 4, 6, 8, 9, 10, 12, 16, 24, 32)]:
        spread = Summary.of([_one(layer, rotary, chosen.length, chosen.width, n) for _ in range(repeats + 1)][1:])
        low, high = (1e6 * value / n for value in (spread.low, spread.high))
        lines.append((str(n), f"{1e3 * spread.median:.1f}", f"{1e6 * spread.median / n:.0f} ({low:.0f}-{high:.0f})"))
    Sheet("A layer call", ("rows", "CPU ms", "CPU us per row"), lines).show(Console(width=120))


def _one(layer: torch.nn.Module, rotary: torch.nn.Module, length: int, width: int, rows: int) -> float:
    """CPU seconds of one call on `rows` rows, each attending to all of the prompt and to all rows of the call."""
    cache = ContextCache()
    _call(layer, rotary, cache, torch.randn(1, length, width), 0)
    cache.extending = False
    states = torch.randn(1, rows, width)
    return timed(lambda: _call(layer, rotary, cache, states, length), "cpu").cpu


def _call(
    layer: torch.nn.Module, rotary: torch.nn.Module, cache: ContextCache, states: torch.Tensor, known: int
) -> None:
    rows = states.shape[1]
    positions = torch.arange(rows)[None]
    allowed = torch.ones(1, 1, rows, known + rows, dtype=torch.bool)
    layer(
        states,
        attention_mask=allowed,
        position_ids=positions,
        position_embeddings=rotary(states, positions),
        past_key_values=cache,
    )


if __name__ == "__main__":
    app()
