"""See what a multimodal LLM does with what it sees.

```python
import chiasm

view = chiasm.load("tiny")
run = chiasm.flow(view, data="scenes", cuts=["image->last"], limit=50)
run.table("effects")
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiasm.api import (
        Run,
        align,
        apply,
        attribute,
        check,
        compare,
        concepts,
        evaluate,
        examples,
        flow,
        load,
        look,
        neurons,
        paper,
        project,
        prune,
        read_plan,
        recover,
        remove,
        save,
        skip,
    )
    from chiasm.api import open_run as open  # noqa: A004 (used as `chiasm.open`)
    from chiasm.core.errors import ChiasmError, ExampleError
    from chiasm.core.example import Box, Example

# Names appear when they are first used: `import chiasm` alone loads neither torch nor transformers.
_WHERE = {
    "Box": ("chiasm.core.example", "Box"),
    "ChiasmError": ("chiasm.core.errors", "ChiasmError"),
    "Example": ("chiasm.core.example", "Example"),
    "ExampleError": ("chiasm.core.errors", "ExampleError"),
    "Run": ("chiasm.api", "Run"),
    "align": ("chiasm.api", "align"),
    "apply": ("chiasm.api", "apply"),
    "attribute": ("chiasm.api", "attribute"),
    "check": ("chiasm.api", "check"),
    "compare": ("chiasm.api", "compare"),
    "concepts": ("chiasm.api", "concepts"),
    "eval": ("chiasm.api", "evaluate"),
    "evaluate": ("chiasm.api", "evaluate"),
    "examples": ("chiasm.api", "examples"),
    "flow": ("chiasm.api", "flow"),
    "load": ("chiasm.api", "load"),
    "look": ("chiasm.api", "look"),
    "neurons": ("chiasm.api", "neurons"),
    "paper": ("chiasm.api", "paper"),
    "open": ("chiasm.api", "open_run"),
    "project": ("chiasm.api", "project"),
    "prune": ("chiasm.api", "prune"),
    "read_plan": ("chiasm.api", "read_plan"),
    "recover": ("chiasm.api", "recover"),
    "remove": ("chiasm.api", "remove"),
    "save": ("chiasm.api", "save"),
    "skip": ("chiasm.api", "skip"),
}

# Without `eval` and `open`, which a star import would put in the place of Python's own.
__all__ = [
    "Box",
    "ChiasmError",
    "Example",
    "ExampleError",
    "Run",
    "align",
    "apply",
    "attribute",
    "check",
    "compare",
    "concepts",
    "evaluate",
    "examples",
    "flow",
    "load",
    "look",
    "neurons",
    "paper",
    "project",
    "prune",
    "read_plan",
    "recover",
    "remove",
    "save",
    "skip",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("chiasm")
    if name not in _WHERE:
        raise AttributeError(f"module `chiasm` has no attribute `{name}`")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*_WHERE, "__version__", *globals()])
