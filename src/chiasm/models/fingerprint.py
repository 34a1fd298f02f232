"""What tells one set of weights from another."""

import hashlib

import torch

from chiasm.models.view import ModelView


def fingerprint(view: ModelView) -> str:
    """SHA-256 (first 16 hex digits) of names, dtypes, shapes and bytes of all weights, in the order of their names.

    Independent of how the checkpoint is split into files. Weights that are offloaded count with name and shape alone.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(view.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.device.type != "meta":
            digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
