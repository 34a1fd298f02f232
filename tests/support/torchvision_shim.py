"""Lets `torchvision` import beside a CPU-only torch: some processors cannot be constructed without it.

Its wheels register fake kernels for two compiled operators that the CPU build of torch does not load. Declaring the
operators is enough for the import; nothing here calls them. For tests and development only.
"""

import importlib.util

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[torch.library.Library] = []  # a library object takes its operators with it when it is collected


def install() -> None:
    """Declare the operators, once, and only where the installed torchvision cannot bring its own."""
    if _libraries or importlib.util.find_spec("torchvision") is None or torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}{_SIGNATURE}")
    _libraries.append(library)
