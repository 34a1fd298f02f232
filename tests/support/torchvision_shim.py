"""Lets `torchvision` import beside a CPU-only torch: some processors cannot be constructed without it.

Its wheels register fake kernels for two compiled operators that the CPU build of torch does not load. Declaring the
operators is enough for the import; nothing here calls them. For tests and development only: `make setup` copies this
file into the environment and has it run at start-up, so that subprocesses have it too. It therefore costs nothing
until torchvision is imported.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[Any] = []  # a library object takes its operators with it when it is collected


def install() -> None:
    """Declare the operators, once, and only where the installed torchvision cannot bring its own."""
    if _libraries or importlib.util.find_spec("torchvision") is None:
        return
    _declare()


def _declare() -> None:
    import torch

    if torch.version.cuda is not None or _declared(torch):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}{_SIGNATURE}")
    _libraries.append(library)


def _declared(torch: Any) -> bool:
    """Whether the operators exist: this file may be loaded twice, from the tests and from the environment."""
    try:
        torch.ops.torchvision.qnms  # noqa: B018
    except AttributeError:
        return False
    return True


class _BeforeTorchvision:
    """Declares the operators while torchvision is being imported, before the part that needs them.

    Its first lines import torch, so by the time it asks for this submodule torch is there; asking whether torchvision
    is installed imports nothing.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision._meta_registrations":
            _declare()
        return None


def install_lazily() -> None:
    """Declare the operators when something imports torchvision."""
    sys.meta_path.insert(0, _BeforeTorchvision())
