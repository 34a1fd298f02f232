"""`chiasm models`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce
from chiasm.core.interruption import require_uninterrupted


def models(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Which families of models are supported, what the conformance suite found of each, and which are embedded.

        chiasm models
        chiasm models --json

    Parameters
    ----------
    json
        Print a list of objects, for programs: families first (`family`, `kind`, `certified`, `reason`, ...), then the
        embedded models (`model`, `what`).
    """
    announce("chiasm models: what is supported; the list takes seconds to load.")
    from chiasm import smollm2
    from chiasm.models.support import supported
    from chiasm.tiny import NAMES, names

    require_uninterrupted()
    known = {name: NAMES[name] for name in names()} | smollm2.NAMES
    families = [one.row() for one in supported()]
    if json:
        about = {"family": None, "kind": "embedded", "certified": None, "reason": "a model, not a family"}
        embedded = [{"model": name, "what": what, **about} for name, what in known.items()]
        print_json([*families, *embedded])
        return
    print("Families (`model_type` in config.json); certified: every law that applies holds (docs/support.md):")
    name, kind = (max(len(row[key]) for row in families) for key in ("family", "kind"))
    for row in families:
        mark = "certified" if row["certified"] else "not certified: " + row["reason"]
        print(f"  {row['family']:<{name}}  {row['kind']:<{kind}}  {', '.join(row['model_types'])}; {mark}")
    print("Embedded:")
    for model, what in known.items():
        print(f"  {model:<{name}}  {what}")
