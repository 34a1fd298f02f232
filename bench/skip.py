"""Whether skipped operations are saved time: prefill and generation under plans beside the plain model's, in turn.

`python -m bench.skip` takes 25 minutes of CPU time (`--repeats 3 --generations 1`: 10). `--device cuda --shape
llava-1.5-7b --dtype bfloat16` measures at the published size. What plans lose cannot be told from the random weights
here: `--losses RUN` puts the plans of a run of `chiasm skip` beside them.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from cyclopts import App
from transformers import GenerationConfig

from bench.measure import RESULTS, Summary, machine, seconds
from bench.report import Sheet, machine_lines, write_results
from bench.shapes import SHAPES, build, prompts
from chiasm.interventions.published_skips import (
    fast_v,
    parallel_blocks,
    parallel_sublayers,
    random_drop,
    short_v,
    v_skip,
    visual_ffn,
)
from chiasm.interventions.skips import Skip, SkipPlan
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import identity_of
from chiasm.models.skipping.timing import peak_bytes
from chiasm.models.view import ModelView

REQUIRED = 0.85
"""Of the share of operations that skipping feed-forward saves, so much must be saved in time."""
TOKENS = 16
"""Tokens of one timed `generate()`."""

app = App(name="bench.skip", help=__doc__, help_format="plaintext")


def plans_of(layers: int) -> dict[str, Skip]:
    """What is measured: the published ways to leave out work on image tokens, at comparable savings."""
    half = tuple(range(1, layers, 2))
    return {
        "visual FFN, half of the layers": visual_ffn(half),
        "visual FFN, all layers": visual_ffn(range(layers)),
        "visual FFN, random half of the tokens, all layers": visual_ffn(range(layers), share=0.5),
        "visual attention, half of the layers (V-Skip)": v_skip(half),
        "visual block, half of the layers (ShortV)": short_v(half),
        "half of the image tokens, by attention (FastV)": fast_v(layers, after=2, share=0.5),
        "half of the image tokens, random": random_drop(layers, after=2, share=0.5),
        "image tokens gone from the middle on": random_drop(layers, after=layers // 2, share=1),
        "blocks of all tokens, half of the layers": Skip(part="block", span="all", layers=half, phase="both"),
        "attention beside feed-forward, all layers": parallel_sublayers(range(layers)),
        "layers in pairs": parallel_blocks(layers),
    }


def measure(
    view: ModelView, inputs: dict[str, Any], skip: Skip, device: str, repeats: int, generations: int
) -> dict[str, Any]:
    """Share of operations and of time saved by `skip`, plain and skipping calls taking turns."""
    plan = SkipPlan(name="bench", model=identity_of(view), skips=(skip,))
    plain, left = prefill_operations(view, inputs).total, prefill_operations(view, inputs, plan).total

    def prefill() -> None:
        with torch.no_grad():
            view.model(**inputs, logits_to_keep=1, use_cache=True)

    config = GenerationConfig(max_new_tokens=TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0)

    def generation() -> None:
        view.model.generate(**inputs, generation_config=config)

    def seconds_under(run: Callable[[], None], under: Callable[[], Any]) -> float:
        with under():
            return seconds(run, device)

    def paired(run: Callable[[], None], count: int) -> list[tuple[float, float]]:
        orders: list[Callable[[], Any]] = [nullcontext, lambda: skipping(view, plan, same_weights=False)]
        for under in orders:
            seconds_under(run, under)
        return [(seconds_under(run, orders[0]), seconds_under(run, orders[1])) for _ in range(count)]

    pairs, generated = paired(prefill, repeats), paired(generation, generations)
    saved, shorter = (Summary.of([1 - skipped / clean for clean, skipped in found]) for found in (pairs, generated))
    operations = 1 - left / plain
    with torch.no_grad():
        plain_peak = peak_bytes(view, prefill)
        with skipping(view, plan, same_weights=False):
            peak = peak_bytes(view, prefill)
    return {
        "operations": plain,
        "operations saved": operations,
        "time saved": saved.median,
        "time saved, range": (saved.low, saved.high),
        "plain seconds": Summary.of([clean for clean, _ in pairs]).median,
        "seconds": Summary.of([skipped for _, skipped in pairs]).median,
        "time saved / operations saved": saved.median / operations if operations else None,
        "generate saved": shorter.median,
        "generate saved, range": (shorter.low, shorter.high),
        "plain peak bytes": plain_peak,
        "peak bytes": peak,
        "pairs": repeats,
        "generate pairs": generations,
    }


@app.default
def skip(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    shape: str = "small",
    dtype: Literal["float32", "bfloat16"] = "float32",
    threads: int = 1,
    repeats: int = 9,
    generations: int = 3,
    only: str = "",
    losses: Path | None = None,
    out: Path = RESULTS,
) -> int:
    """Measure, print, and write `skip.json`. Ends with 1 if skipping feed-forward saves less time than it must.

    Parameters
    ----------
    repeats
        Pairs of prefills per plan.
    generations
        Pairs of `generate()` per plan, 16 tokens each.
    only
        Measure the plans whose name contains this.
    losses
        A run of `chiasm skip`: its plans, with what they lose, become a second table.
    """
    torch.set_num_threads(threads)
    view = ModelView(build(SHAPES[shape], device, getattr(torch, dtype)), None, shape).as_served()
    inputs = prompts(SHAPES[shape], 1, device, view.dtype)[0].inputs
    found, enough = {}, True
    for name, one in plans_of(view.n_layers).items():
        if only not in name:
            continue
        row = found[name] = measure(view, inputs, one, device, repeats, generations)
        ratio = row["time saved / operations saved"]
        enough &= one.part != "ffn" or (ratio is not None and ratio >= REQUIRED)
        low, high = row["time saved, range"]
        shown = "" if ratio is None else f"  ratio {ratio:.2f}"
        print(
            f"{name:<48} operations saved {row['operations saved']:6.1%}  time saved {row['time saved']:6.1%} "
            f"({low:.1%} to {high:.1%}){shown}  generate saved {row['generate saved']:6.1%}",
            flush=True,
        )
        where = machine(device, threads)
        write(out, {"machine": where, "shape": shape, "dtype": dtype, "plans": found}, losses)
    return 0 if enough else 1


def write(out: Path, body: dict[str, Any], losses: Path | None = None) -> None:
    """`skip.json` and `skip.md`, after every plan, so that a run that is ended early leaves what it has."""
    columns = (
        "plan",
        "operations saved",
        "time saved (median, range)",
        "ratio",
        "seconds",
        f"generate {TOKENS} tokens, saved",
        "peak MB",
    )
    sheet = Sheet(
        "Prefill",
        columns,
        [],
        [
            "Pairs of plain and skipping prefills take turns. Time: of the process on a CPU, elapsed on a GPU.",
            f"The feed-forward of image tokens must save at least {REQUIRED:g} of its share of operations in time.",
            "Plans without a ratio leave out nothing; they shorten the chain of dependent kernels, which one CPU "
            "thread does not feel. Peak memory: tensors of one prefill above the weights.",
        ],
    )
    for name, row in body["plans"].items():
        (low, high), ratio = row["time saved, range"], row["time saved / operations saved"]
        sheet.rows.append(
            (
                name,
                f"{row['operations saved']:.1%}",
                f"{row['time saved']:.1%} ({low:.1%} to {high:.1%}, n={row['pairs']})",
                "" if ratio is None else f"{ratio:.2f}",
                f"{row['seconds']:.2f} of {row['plain seconds']:.2f}",
                "{:.1%} ({:.1%} to {:.1%}, n={})".format(
                    row["generate saved"], *row["generate saved, range"], row["generate pairs"]
                ),
                f"{row['peak bytes'] / 1e6:.0f} of {row['plain peak bytes'] / 1e6:.0f}",
            )
        )
    command = f"`python -m bench.skip`, shape `{body['shape']}`, {body['dtype']}."
    head = f"# What skipped operations save\n\n{command}\n\n{machine_lines(body['machine'])}\n"
    lost = "" if losses is None else f"\n{lost_by(losses).markdown()}"
    write_results(out, "skip", body, f"{head}\n{sheet.markdown()}{lost}")


def lost_by(run: Path) -> Sheet:
    """The plans of a run of `chiasm skip`: loss against operations, and against measured time and peak memory."""
    manifest = json.loads((run / "manifest.json").read_text())
    plans = pl.read_parquet(run / "tables" / "plans.parquet").sort("operations_share", descending=True)
    unit = manifest["spec"]["unit"]
    columns = (
        "plan",
        "operations left",
        "right answers lost (points)",
        "log-probability lost (nat)",
        "time left, one prompt",
        f"time left, {unit} prompts",
        "peak MB",
        "on the front",
    )
    sheet = Sheet(
        f"What is lost: `chiasm skip {manifest['spec']['model']}`",
        columns,
        [],
        [
            f"{plans['n'][0]} held-out examples; 95 % intervals: of paired shares by score, of nats by bootstrap.",
            f"Time: geometric mean of {manifest['spec']['repeats']} ratios to a plain call beside it (wall), 95 % for "
            "all plans that may be recommended at once; `none`: of two plain calls.",
            "`random-K-*` are the control of `search-K`: as many operations left out in layers drawn at random.",
            "Front: no other plan (controls apart) has at most its operations and at most its mean loss in nats.",
        ],
    )
    for row in plans.iter_rows(named=True):
        sheet.rows.append(
            (
                row["plan"],
                f"{row['operations_share']:.1%}",
                f"{100 * row['loss']:.1f} ({100 * row['loss_low']:.1f} to {100 * row['loss_high']:.1f})",
                f"{row['logprob_loss']:.3f} ({row['logprob_loss_low']:.3f} to {row['logprob_loss_high']:.3f})",
                _time(row, "prefill_share"),
                _time(row, "batch_share"),
                f"{row['peak_bytes'] / 1e6:.1f}",
                "yes" if row["pareto"] else "",
            )
        )
    return sheet


def _time(row: dict[str, Any], name: str) -> str:
    bounds = [row[f"{name}_{end}"] for end in ("low", "high")]
    between = "" if None in bounds else " ({:.2f} to {:.2f})".format(*bounds)
    return f"{row[name]:.2f}{between}"


if __name__ == "__main__":
    app(result_action="sys_exit")
