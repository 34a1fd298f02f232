"""The stages in order, how each is run, and how what they reached becomes the weights in the wheel.

A stage that was interrupted continues from its last checkpoint; a stage that is finished is not run again.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from recipes.tiny.modalities import AudioModality, ImageModality, Modality, VideoModality
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from chiasm.tiny import shapes
from chiasm.tiny.registry import MODELS, SHIPPED, lineage, weights_file
from chiasm.tiny.tokens import tokenizer
from recipes.tiny import encoders, mapping, text

ALIGNED: Final = 150
TUNED: Final = 400
"""Steps of instruction tuning, the same for the finished model and all that it is compared with."""
_Build = Callable[[PreTrainedTokenizerFast], Any]
# What a mapping onto the frozen text decoder is made of: its modality, its class, the stage of its encoder.
MAPPINGS: Final[dict[str, tuple[type[Modality], _Build, str]]] = {
    "supervised": (ImageModality, shapes.llava, "supervised-tower"),
    "mae": (ImageModality, shapes.llava, "mae-tower"),
    "resampler": (ImageModality, shapes.resampler, "tower"),
    "video": (VideoModality, shapes.llava_next_video, "tower"),
    "audio": (AudioModality, shapes.qwen2_audio, "hearing-tower"),
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
        "tower": encoders.tower,
        "recall": text.recall,
        "supervised-tower": encoders.supervised,
        "mae-tower": encoders.masked,
        "hearing-tower": encoders.hearing,
    }
    if stage in alone:
        return alone[stage](place)
    if stage == "text":
        return text.text(place, root / "recall" / "recall.pt")
    if stage in MAPPINGS:
        if not (place / "aligned" / "model.pt").exists():
            mapping.fit(place / "aligned", _modality(root, *MAPPINGS[stage]), "align", ALIGNED)
        return mapping.fit(place, _modality(root, *MAPPINGS[stage], place / "aligned"), "frozen", TUNED)
    if stage == "aligned":
        return mapping.fit(place, _modality(root), "align", ALIGNED)
    modality = _modality(root, aligned=None if "noalign" in stage else root / "aligned")
    return mapping.fit(place, modality, "frozen" if stage.startswith("frozen") else "instruct", TUNED)


def _modality(
    root: Path,
    kind: type[Modality] = ImageModality,
    build: _Build = shapes.llava,
    encoder: str = "tower",
    aligned: Path | None = None,
) -> Modality:
    """The text decoder behind an encoder and a projector, random or that of `aligned`."""
    held = mapping.encoder_of("audio" if kind is AudioModality else "vision", root / encoder / "tower.pt")
    model = mapping.assemble(build(tokenizer()), root / "text" / "text.pt", held)
    if aligned is not None:
        model.load_state_dict(torch.load(aligned / "model.pt", weights_only=True))
    return kind(model)


def collect(root: Path, target: Path = SHIPPED) -> None:
    """Writes the finished stages as the package's weights."""
    own = ("aligned", "frozen", "noalign", "frozen-noalign", *MAPPINGS)
    stage_of = {"tiny": "instruct", **{f"tiny@{name}": name for name in own}}
    files = {name: root / stage / "model.pt" for name, stage in stage_of.items()}
    files |= {f"tiny@{name}-captions": root / name / "aligned" / "model.pt" for name in ("video", "audio")}
    files |= {f"tiny@frozen-{step}": root / "frozen" / f"model-{step}.pt" for step in mapping.KEPT}
    files["tiny@tower"] = root / "tower" / "tower.pt"
    states = {name: torch.load(file, weights_only=True) for name, file in files.items() if file.exists()}
    if (root / "text" / "text.pt").exists():
        states["tiny@text"] = _modality(root).model.state_dict()
    export(states, target)


def export(states: Mapping[str, Mapping[str, Tensor]], target: Path = SHIPPED) -> None:
    """Writes state dicts by name as half-precision files, each as its difference from its base.

    A base must be among the states or in the directory already.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if name not in states:
            continue
        *bases, _ = lineage(name)
        shared = {key: value for base in bases for key, value in load_file(weights_file(base, target)).items()}
        state = {key: value.detach().to(torch.float16).contiguous() for key, value in states[name].items()}
        kept = {k: v for k, v in state.items() if k not in shared or not torch.equal(v, shared[k])}
        save_file(kept, weights_file(name, target))
        # safetensors writes for the owner alone; a package is read by everyone.
        weights_file(name, target).chmod(0o644)
