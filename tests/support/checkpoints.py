"""Saved checkpoints to damage: changes of their files in a line each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Let `change` work on the object in a JSON file."""
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Let `change` work on the tensors of `model.safetensors`."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
