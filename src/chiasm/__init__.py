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
    from chiasm.api.forecasts import plan
    from chiasm.api.inside import attribute, concepts, neurons
    from chiasm.api.models import check, load
    from chiasm.api.plans import apply, read_plan, recover, remove, save
    from chiasm.api.verbs import align, compare, evaluate, flow, look, paper, patch, project, prune, skip
    from chiasm.core.errors import ChiasmError, ExampleError
    from chiasm.core.example import Box, Example
    from chiasm.data import examples
    from chiasm.studies.diff import Comparison, diff
    from chiasm.studies.run import Run, claims
    from chiasm.studies.run import open_run as open  # noqa: A004 (used as `chiasm.open`)

# Names appear when they are first used: `import chiasm` alone loads neither torch nor transformers.
_WHERE = {
    **dict.fromkeys(("Box", "Example"), "chiasm.core.example"),
    **dict.fromkeys(("ChiasmError", "ExampleError"), "chiasm.core.errors"),
    **dict.fromkeys(("align", "compare", "evaluate", "flow", "look", "paper", "patch"), "chiasm.api.verbs"),
    **dict.fromkeys(("project", "prune", "skip"), "chiasm.api.verbs"),
    **dict.fromkeys(("apply", "read_plan", "recover", "remove", "save"), "chiasm.api.plans"),
    **dict.fromkeys(("attribute", "concepts", "neurons"), "chiasm.api.inside"),
    **dict.fromkeys(("check", "load"), "chiasm.api.models"),
    **dict.fromkeys(("Run", "claims"), "chiasm.studies.run"),
    **dict.fromkeys(("Comparison", "diff"), "chiasm.studies.diff"),
    "examples": "chiasm.data",
    "plan": "chiasm.api.forecasts",
}
_OTHER_NAMES = {"eval": ("chiasm.api.verbs", "evaluate"), "open": ("chiasm.studies.run", "open_run")}

# Without `eval` and `open`, which a star import would put in the place of Python's own.
__all__ = [
    "Box",
    "ChiasmError",
    "Comparison",
    "Example",
    "ExampleError",
    "Run",
    "align",
    "apply",
    "attribute",
    "check",
    "claims",
    "compare",
    "concepts",
    "diff",
    "evaluate",
    "examples",
    "flow",
    "load",
    "look",
    "neurons",
    "paper",
    "patch",
    "plan",
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
    if name not in _WHERE and name not in _OTHER_NAMES:
        # Every study that is found has a function, also one without a line in `chiasm.api.verbs`, which adds its types.
        studies = import_module("chiasm.studies.study")
        if not name.startswith("_") and studies.is_study(name):
            return import_module("chiasm.api.verbs").study_function(name, studies.study(name).spec)
        hint = import_module("chiasm.core.errors").nearest(name, [*_WHERE, *_OTHER_NAMES])
        raise AttributeError(f"module `chiasm` has no attribute `{name}`{f'. {hint}' if hint else ''}")
    module, attribute = _OTHER_NAMES.get(name) or (_WHERE[name], name)
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*_WHERE, *_OTHER_NAMES, "__version__", *globals()])
