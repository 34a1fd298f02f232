"""Draws the map of patches that the README shows: `make pictures`.

The rule: of the maps of the first 60 examples of `scenes` that the embedded model answers correctly, the median one by
the largest change of the answer's log-probability that hiding one patch makes. What all of these maps show is printed,
and stands under the picture.
"""

from pathlib import Path

import chiasm
from chiasm.studies.flow.maps import typical

FIRST = 60
ORDERS = 8
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write docs/images/patches.png and print what the maps show."""
    run = chiasm.flow(
        "tiny", data="scenes", limit=FIRST, window=3, cuts=["image->last"], patches=FIRST, shapley=ORDERS, out=None
    )
    chosen = typical(run.table("patch_values"))
    number = run.table("patches")["example_id"].unique(maintain_order=True).to_list().index(chosen)
    run.chart(f"patches-{number}", width="6.5in").save(IMAGES / "patches.png", scale_factor=2)
    print(f"{chosen}, number {number}: {IMAGES / 'patches.png'}")
    for finding in run.reporter.ranked:
        print(f"- {finding.text}")


if __name__ == "__main__":
    main()
