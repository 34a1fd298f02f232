"""The recipe as a command: `python -m recipes.tiny.train --stage all` makes what is shipped, from nothing.

A stage that was interrupted continues from its last checkpoint; a stage that is finished is not run again.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from recipes.tiny import encoders, sight, stages
from recipes.tiny.card import write_card
from recipes.tiny.senses import Film, Hearing, Sense, Sight
from transformers import PreTrainedTokenizerFast

from chiasm.tiny import shape
from chiasm.tiny.store import SHIPPED, export
from chiasm.tiny.tokens import tokenizer

ALIGNED: Final = 150
TUNED: Final = 400
"""Steps of instruction tuning, the same for the finished model and all that it is compared with."""
_Build = Callable[[PreTrainedTokenizerFast], Any]
# What a mapping onto the frozen text decoder is made of: how it perceives, its class, the stage of its encoder.
MAPPINGS: Final[dict[str, tuple[type[Sense], _Build, str]]] = {
    "supervised": (Sight, shape.llava, "supervised-tower"),
    "mae": (Sight, shape.llava, "mae-tower"),
    "resampler": (Sight, shape.resampler, "tower"),
    "video": (Film, shape.llava_next_video, "tower"),
    "audio": (Hearing, shape.qwen2_audio, "hearing-tower"),
}
# In order: each needs those before it. Those after `instruct` are variants that the alignment study compares.
STAGES: Final = ("tower", "recall", "text", "aligned", "instruct", "frozen", "noalign", "frozen-noalign",
                 "supervised-tower", "mae-tower", "hearing-tower", *MAPPINGS)  # fmt: skip


def run_stage(stage: str, root: Path) -> None:
    """Runs one stage in `root/stage`, unless it is finished."""
    done = root / stage / "done.json"
    if done.exists():
        print(f"{stage}: finished before")
        return
    reached = _run(stage, root)
    done.write_text(json.dumps(reached, indent=1))


def _run(stage: str, root: Path) -> dict[str, float]:
    place = root / stage
    alone: dict[str, Callable[[Path], dict[str, float]]] = {
        "tower": stages.tower,
        "recall": stages.recall,
        "supervised-tower": encoders.supervised,
        "mae-tower": encoders.masked,
        "hearing-tower": encoders.hearing,
    }
    if stage in alone:
        return alone[stage](place)
    if stage == "text":
        return stages.text(place, root / "recall" / "recall.pt")
    if stage in MAPPINGS:
        if not (place / "aligned" / "model.pt").exists():
            sight.fit(place / "aligned", _sense(root, *MAPPINGS[stage]), "align", ALIGNED)
        return sight.fit(place, _sense(root, *MAPPINGS[stage], place / "aligned"), "frozen", TUNED)
    if stage == "aligned":
        return sight.fit(place, _sense(root), "align", ALIGNED)
    sense = _sense(root, aligned=None if "noalign" in stage else root / "aligned")
    return sight.fit(place, sense, "frozen" if stage.startswith("frozen") else "instruct", TUNED)


def _sense(
    root: Path,
    kind: type[Sense] = Sight,
    build: _Build = shape.llava,
    encoder: str = "tower",
    aligned: Path | None = None,
) -> Sense:
    """The text decoder behind an encoder and a projector, random or that of `aligned`."""
    held = sight.encoder_of("audio" if kind is Hearing else "vision", root / encoder / "tower.pt")
    model = sight.assemble(build(tokenizer()), root / "text" / "text.pt", held)
    if aligned is not None:
        model.load_state_dict(torch.load(aligned / "model.pt", weights_only=True))
    return kind(model)


def collect(root: Path, target: Path = SHIPPED) -> None:
    """Writes the finished stages as the package's weights."""
    own = ("aligned", "frozen", "noalign", "frozen-noalign", *MAPPINGS)
    stage_of = {"tiny": "instruct", **{f"tiny@{name}": name for name in own}}
    files = {name: root / stage / "model.pt" for name, stage in stage_of.items()}
    files |= {f"tiny@{name}-captions": root / name / "aligned" / "model.pt" for name in ("video", "audio")}
    files |= {f"tiny@frozen-{step}": root / "frozen" / f"model-{step}.pt" for step in sight.KEPT}
    files["tiny@tower"] = root / "tower" / "tower.pt"
    states = {name: torch.load(file, weights_only=True) for name, file in files.items() if file.exists()}
    if (root / "text" / "text.pt").exists():
        states["tiny@text"] = _sense(root).model.state_dict()
    export(states, target)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.tiny.train", description=__doc__)
    parser.add_argument("--stage", nargs="+", choices=("all", "collect", "card", *STAGES), default=["all"])
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"), help="checkpoints and logs")
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
