"""How the embedded models are made, from nothing to the files in the wheel.

    python -m recipes.tiny runs/tiny
    python -m recipes.tiny runs/tiny --stage text
    python -m recipes.tiny runs/tiny --stage card

The first runs every stage in order: the tower, the decoder on text only, the projector aligned with both frozen,
instruction tuning, and the variants, among them mappings of videos and sounds. It then writes the weights into the
package and measures the model card. Each stage continues where a killed run left off. The same as `make train-tiny`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from recipes.tiny.card import write_card
from recipes.tiny.stages import STAGES, collect, run_stage


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, default=Path("runs/tiny"), help="checkpoints and logs")
    parser.add_argument("--stage", nargs="+", choices=("all", "collect", "card", *STAGES), default=["all"])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--each", type=int, default=500, help="held-out questions per type on the card")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    finish: dict[str, Callable[[], object]] = {
        "collect": lambda: collect(asked.out),
        "card": lambda: write_card(asked.out, asked.each),
    }
    for stage in (*STAGES, *finish) if "all" in asked.stage else asked.stage:
        if stage in finish:
            finish[stage]()
        else:
            run_stage(stage, asked.out)


if __name__ == "__main__":
    main()
