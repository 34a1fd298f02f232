"""Whether skipped operations are saved time: the prefill under plans beside the plain model's, call by call.

`python -m bench.skip` takes about three minutes on a quiet core. `--device cuda --shape llava-1.5-7b --dtype bfloat16`
measures at the published size.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from cyclopts import App

from bench.measure import Seconds, Spread, machine, timed
from bench.shapes import SHAPES, build, prompts
from chiasm.interventions.skips import Plan, Skip, fast_v, random_drop, short_v, v_skip, visual_ffn
from chiasm.models.operations import prefill_operations
from chiasm.models.plans import identity_of
from chiasm.models.skipping import skipping
from chiasm.models.view import ModelView

HERE = Path(__file__).parent
REQUIRED = 0.85
"""Of the share of operations that skipping feed-forward saves, so much must be saved in time."""

app = App(name="bench.skip", help=__doc__, help_format="plaintext")


def plans_of(layers: int) -> dict[str, Skip]:
    """What is measured: the published ways to leave out work on image tokens, at comparable savings."""
    half = tuple(range(1, layers, 2))
    return {
        "visual FFN, half of the layers": visual_ffn(half),
        "visual FFN, all layers": visual_ffn(range(layers)),
        "visual attention, half of the layers (V-Skip)": v_skip(half),
        "visual block, half of the layers (ShortV)": short_v(half),
        "half of the image tokens, by attention (FastV)": fast_v(layers, after=2, share=0.5),
        "half of the image tokens, random": random_drop(layers, after=2, share=0.5),
    }


def measure(view: ModelView, inputs: dict[str, Any], skip: Skip, device: str, repeats: int) -> dict[str, Any]:
    """Share of operations and of time saved by `skip`, plain and skipping calls taking turns."""
    plan = Plan(name="bench", model=identity_of(view), skips=(skip,))
    plain, left = prefill_operations(view, inputs).total, prefill_operations(view, inputs, plan).total
    clock = "cpu" if device == "cpu" else "wall"

    def prefill() -> None:
        with torch.no_grad():
            view.model(**inputs, logits_to_keep=1, use_cache=True)

    def seconds(under: Callable[[], Any]) -> float:
        with under():
            found: Seconds = timed(prefill, device)
            return getattr(found, clock)

    seconds(nullcontext)
    seconds(lambda: skipping(view, plan, same_weights=False))
    pairs = [(seconds(nullcontext), seconds(lambda: skipping(view, plan, same_weights=False))) for _ in range(repeats)]
    saved = Spread.of([1 - skipped / clean for clean, skipped in pairs])
    operations = 1 - left / plain
    return {
        "operations": plain,
        "operations saved": operations,
        "time saved": saved.median,
        "time saved, range": (saved.low, saved.high),
        "plain seconds": Spread.of([clean for clean, _ in pairs]).median,
        "seconds": Spread.of([skipped for _, skipped in pairs]).median,
        "time saved / operations saved": saved.median / operations,
        "pairs": repeats,
    }


@app.default
def skip(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    shape: str = "small",
    dtype: Literal["float32", "bfloat16"] = "float32",
    threads: int = 1,
    repeats: int = 9,
    only: str = "",
    out: Path = HERE / "results",
) -> int:
    """Measure, print, and write `skip.json`. Ends with 1 if skipping feed-forward saves less time than it must.

    Parameters
    ----------
    only
        Measure the plans whose name contains this.
    """
    torch.set_num_threads(threads)
    view = ModelView(build(SHAPES[shape], device, getattr(torch, dtype)), None, shape)
    inputs = {k: v.to(device) for k, v in prompts(SHAPES[shape])[0].inputs.items()}
    inputs["pixel_values"] = inputs["pixel_values"].to(view.dtype)
    found, enough = {}, True
    for name, one in plans_of(view.n_layers).items():
        if only not in name:
            continue
        row = found[name] = measure(view, inputs, one, device, repeats)
        ratio = row["time saved / operations saved"]
        enough &= ratio >= REQUIRED or one.part != "ffn"
        low, high = row["time saved, range"]
        print(
            f"{name:<48} operations saved {row['operations saved']:6.1%}  time saved {row['time saved']:6.1%} "
            f"({low:.1%} to {high:.1%})  ratio {ratio:.2f}",
            flush=True,
        )
    out.mkdir(parents=True, exist_ok=True)
    body = {"machine": machine(device, threads), "shape": shape, "dtype": dtype, "plans": found}
    (out / "skip.json").write_text(json.dumps(body, indent=1) + "\n")
    return 0 if enough else 1


if __name__ == "__main__":
    app(result_action="sys_exit")
