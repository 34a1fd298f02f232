"""What it costs to score many labels of one image together: `python -m bench.labels` (two minutes)."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from cyclopts import App
from rich.console import Console

from bench.measure import RESULTS, Summary, machine, seconds
from bench.report import Sheet, write_results
from bench.shapes import SHAPES, build, default_dtype, default_shape, prompts
from chiasm.models.frame import keep_logits
from chiasm.models.likelihood import LabelScorer, score_labels_singly
from chiasm.models.view import ModelView

BOUND = 1.5

app = App(name="bench.labels", help=__doc__, help_format="plaintext")


@app.default
@torch.no_grad()
def labels(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    shape: str | None = None,
    count: int = 47,
    alone: int = 4,
    threads: int = 1,
    repeats: int = 5,
    out: Path = RESULTS,
) -> None:
    """Measure, print, and write `labels.json` and `labels.md`.

    device: cuda measures LLaVA-1.5-7B's shape in bfloat16.
    shape: another of the shapes in bench/shapes.py.
    count: labels of 2 to 4 tokens and an end, as DTD's 47 under LLaVA's tokenizer.
    alone: labels that are also scored one by one; the time of all is taken from theirs.
    threads: of the process.
    repeats: of every measurement, each beside a plain forward of its own.
    out: where the results go.
    """
    torch.set_num_threads(threads)
    chosen, dtype = SHAPES[shape or default_shape(device)], default_dtype(device)
    view = ModelView(build(chosen, device, dtype), None).as_served()
    (prompt,) = prompts(chosen, 1, device, dtype)
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randint(5, chosen.vocabulary - 5, (3 + k % 3,), generator=generator) for k in range(count)]
    named = tuple((*(int(token) for token in label[:-1]), 2) for label in drawn)
    scorer = LabelScorer(view, named, guard=False)
    keep = keep_logits(view, slice_to=1)
    some = named[:alone]
    difference = float((scorer.scores([prompt])[0, :alone] - score_labels_singly(view, prompt, some)).abs().max())
    ratios, plain = [], []
    for _ in range(repeats):
        once = seconds(lambda: view.model(**prompt.inputs, **keep, use_cache=False), device)
        together = seconds(lambda: scorer.scores([prompt]), device)
        ratios.append(together / once)
        plain.append(once)
    each = seconds(lambda: score_labels_singly(view, prompt, some), device) / len(some) / Summary.of(plain).median
    spread = Summary.of(ratios)
    sheet = Sheet(
        f"{count} labels of one image ({chosen.length} positions, {sum(map(len, named))} tokens of labels)",
        ("way", "in plain forwards", "bound"),
        [("all in one pass", str(spread), f"{BOUND}"), ("one forward each", f"{each * count:.1f}", "")],
        [
            f"largest difference of a log-probability: {difference:.1e}",
            f"plain forward: {Summary.of(plain).median:.2f} s",
        ],
    )
    sheet.show(Console(width=120))
    kept = {
        "machine": machine(device, threads),
        "ratio": asdict(spread),
        "one_by_one": each * count,
        "difference": difference,
    }
    write_results(out, "labels", kept | {"labels": count, "bound": BOUND}, sheet.markdown())


if __name__ == "__main__":
    app()
