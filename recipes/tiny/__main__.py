"""How the embedded models are made, from nothing to the files in the wheel.

    python -m recipes.tiny runs/tiny

runs every stage in order: the tower, the decoder on text only, the projector aligned with both frozen, instruction
tuning, and the variants, among them mappings of videos and sounds. Each stage continues where a killed run left off.
The same as `make train-tiny`.
"""

import sys
from pathlib import Path

import torch
from recipes.tiny.card import write_card
from recipes.tiny.train import STAGES, collect, run_stage


def train(root: Path, threads: int = 2, each: int = 500) -> None:
    """Makes every stage in `root`, writes the weights into the package, and measures the model card."""
    torch.set_num_threads(threads)
    for stage in STAGES:
        run_stage(stage, root)
    collect(root)
    write_card(root, each)


if __name__ == "__main__":
    train(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tiny"))
