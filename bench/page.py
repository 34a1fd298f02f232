"""How large the page of a large flow run is, and how soon its first chart is there: 1,000 examples, 24 layers, 6 cuts.

    python -m bench.page [--examples 1000] [--layers 24]

The run is made up; its pictures are drawn scenes. With Playwright (`pip install playwright`) and a Chromium at
`$CHIASM_CHROMIUM` (`/usr/bin/chromium` by default) the page is opened from disk as well.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl
from tests.support import flow_tables as made

from chiasm.core.example import Example
from chiasm.data import examples
from chiasm.results import images
from chiasm.results.page.write import write_report
from chiasm.studies.flow import STUDY
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.run import open_run

CHROMIUM = os.environ.get("CHIASM_CHROMIUM", "/usr/bin/chromium")
_FIRST = "() => document.querySelector('.chart.drawn') ? performance.now() : false"


def made_up(path: Path, n: int, layers: int, *, pictures: int) -> None:
    """A finished flow run of `n` examples on all six published cuts, with `pictures` thumbnails."""
    shown: list[Example] = list(islice(examples("scenes", limit=max(pictures, 1)), max(pictures, 1)))
    effects = made.effects(layers=layers, cuts=made.CUTS, examples=n)
    names = effects["example_id"].unique(maintain_order=True).to_list()
    # As in real runs, some examples go the other way.
    other = pl.col("example_id").is_in(names[::20])
    raised = pl.when(other).then(2 * pl.col("logprob_clean") - pl.col("logprob_cut")).otherwise(pl.col("logprob_cut"))
    effects = effects.with_columns(logprob_cut=raised)
    kinds = dict(effects.select("example_id", "type").iter_rows())
    rows = [
        {"example_id": name, "type": kinds[name], "question": f"{one.question} </script> \"'&", "answer": one.answer}
        | {"input": name}
        for k, name in enumerate(names)
        for one in [shown[k % len(shown)]]
    ]
    spec = FlowSpec(model="made-up", data="scenes", cuts=made.CUTS, window=3, out=str(path))
    with STUDY.open(spec, {"asked": n}) as run:
        run.write_shard(0, {"examples": rows, "effects": effects, "controls": made.controls(layers, made.CUTS, n)})
        images.keep_thumbnails(run, [replace(one, id=name) for name, one in zip(names, shown[:pictures], strict=False)])
        run.finish()


def opened(page: Path) -> dict[str, float]:
    """Seconds from the start of opening to the first chart, and to the example browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(f"file://{page}", wait_until="commit")
        first = tab.wait_for_function(_FIRST, polling=20).json_value() / 1000
        listed = tab.wait_for_function(
            "() => document.querySelector('#browser .list li') ? performance.now() : false", polling=20
        )
        found = {"first chart": first, "example browser": listed.json_value() / 1000}
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=24)
    given = parser.parse_args()
    for pictures in (0, given.examples):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            made_up(path, given.examples, given.layers, pictures=pictures)
            run = open_run(path)
            started = time.perf_counter()
            page = run.report()
            drawn = time.perf_counter() - started
            started = time.perf_counter()
            figures = [(name, "") for name, one in run.reporter.drawings().items() if one.reported]
            write_report(run.directory, run.reporter, figures)
            kept = len({one.file for one in images.thumbnails(run.directory).values()})
            size, written = page.stat().st_size / 1e6, time.perf_counter() - started
            print(f"{kept} pictures: {size:.2f} MB; drawn in {drawn:.1f} s, written in {written:.1f} s")
            try:
                print("  " + ", ".join(f"{name} after {seconds:.2f} s" for name, seconds in opened(page).items()))
            except ImportError:
                print("  not opened: no Playwright")


if __name__ == "__main__":
    main()
