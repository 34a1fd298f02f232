"""Draws the pictures of the README and of the guides: `make pictures`.

The rule of the map of patches in the README: of the maps of the first 60 examples of `scenes` that the embedded model
answers correctly, the median one by the largest change of the answer's log-probability that hiding one patch makes.
What all of these maps show is printed, and stands under the picture. The pictures of `look` are of its first example.
The first screens in docs/images/pages are taken in a browser, and not drawn here.
"""

from pathlib import Path
from typing import Any

import chiasm
from chiasm.cli.demo import EXAMPLES
from chiasm.studies.flow.maps import typical

FIRST = 60
ORDERS = 8
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write the pictures into docs/images and print what the maps of patches show."""
    _save(chiasm.flow("tiny", data="scenes", limit=EXAMPLES, window=3), "flow", "demo", "7in")
    one, three = (chiasm.flow("tiny", data="scenes", limit=FIRST, window=window) for window in (1, 3))
    _save(three, "flow", "tour", "7in")
    _save(chiasm.diff(one, three), "difference", "diff", "7in")
    _save(chiasm.eval("tiny", data="scenes", limit=24, blind=True), "accuracy", "eval", "5in")
    looked = chiasm.look("tiny", data="scenes", limit=24)
    _save(looked, "map-0", "look-map", "7in", layers=[0, 2, 5])
    _save(looked, "words-0", "look-words", "7in", states=[0, 1, 3])
    _patches()


def _save(run: chiasm.Run | chiasm.Comparison, chart: str, name: str, width: str, **chosen: Any) -> None:
    """One chart of a run as docs/images/NAME.png."""
    run.chart(chart, width=width, **chosen).save(IMAGES / f"{name}.png")


def _patches() -> None:
    run = chiasm.flow(
        "tiny", data="scenes", limit=FIRST, window=3, cuts=["image->last"], patches=FIRST, shapley=ORDERS, out=None
    )
    chosen = typical(run.table("patch_values"))
    number = run.table("patches")["example_id"].unique(maintain_order=True).to_list().index(chosen)
    _save(run, f"patches-{number}", "patches", "6.5in")
    print(f"{chosen}, number {number}: {IMAGES / 'patches.png'}")
    for finding in run.reporter.ranked:
        print(f"- {finding.text}")


if __name__ == "__main__":
    main()
