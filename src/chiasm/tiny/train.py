"""The recipe as a command: `python -m chiasm.tiny.train --stage all` makes what is shipped, from nothing.

A stage that was interrupted continues from its last checkpoint; a stage that is finished is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from chiasm.tiny import sight, stages
from chiasm.tiny.card import write_card
from chiasm.tiny.store import SHIPPED, export

# In order: each needs those before it. The last three are variants that the alignment study compares.
STAGES: Final = ("tower", "recall", "text", "aligned", "instruct", "frozen", "noalign")


def run_stage(stage: str, root: Path) -> None:
    """Runs one stage in `root/stage`, unless it is finished."""
    done = root / stage / "done.json"
    if done.exists():
        print(f"{stage}: finished before")
        return
    reached = _run(stage, root)
    done.write_text(json.dumps(reached, indent=1))


def _run(stage: str, root: Path) -> dict[str, float]:
    place, tower, text = root / stage, root / "tower" / "tower.pt", root / "text" / "text.pt"
    if stage == "tower":
        return stages.tower(place)
    if stage == "recall":
        return stages.recall(place)
    if stage == "text":
        return stages.text(place, root / "recall" / "recall.pt")
    model = sight.assemble(tower, text)
    if stage in ("instruct", "frozen"):
        model.load_state_dict(torch.load(root / "aligned" / "model.pt", weights_only=True))
    if stage == "aligned":
        return sight.fit(place, model, "align", steps=200)
    if stage == "frozen":
        return sight.fit(place, model, "frozen", steps=200)
    return sight.fit(place, model, "instruct", steps=650 if stage == "instruct" else 350)


def collect(root: Path, target: Path = SHIPPED) -> None:
    """Writes the finished stages as the package's weights."""
    states = {}
    for name, stage in (("tiny", "instruct"), ("tiny@aligned", "aligned"), ("tiny@frozen", "frozen"),
                        ("tiny@noalign", "noalign")):  # fmt: skip
        if (root / stage / "model.pt").exists():
            states[name] = torch.load(root / stage / "model.pt", weights_only=True)
    if (root / "text" / "text.pt").exists():
        states["tiny@text"] = sight.assemble(root / "tower" / "tower.pt", root / "text" / "text.pt").state_dict()
    states["tiny@tower"] = torch.load(root / "tower" / "tower.pt", weights_only=True)
    export(states, target)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m chiasm.tiny.train", description=__doc__)
    parser.add_argument("--stage", choices=("all", "collect", "card", *STAGES), default="all")
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"), help="checkpoints and logs")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--each", type=int, default=500, help="held-out questions per type on the card")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    finish: dict[str, Callable[[], object]] = {
        "collect": lambda: collect(asked.out),
        "card": lambda: write_card(asked.out, asked.each),
    }
    if asked.stage in finish:
        finish[asked.stage]()
        return
    for stage in STAGES if asked.stage == "all" else (asked.stage,):
        run_stage(stage, asked.out)
    if asked.stage == "all":
        for step in finish.values():
            step()


if __name__ == "__main__":
    main()
