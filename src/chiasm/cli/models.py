"""`chiasm models`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce
from chiasm.core.interruption import require_uninterrupted


def models(
    *, all: Annotated[bool, Parameter(negative="")] = False, json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Which families of models are supported, what the conformance suite found of each, and which are embedded.

        chiasm models
        chiasm models --all
        chiasm models --json

    Parameters
    ----------
    all
        Every multimodal type that transformers maps instead: certified, accepted, refused or untried, and why.
    json
        Print a list of objects, for programs: families first (`family`, `kind`, `certified`, `reason`, ...), then the
        embedded models (`model`, `what`). With `--all`, one object for each type: `type`, `status`, `capabilities`,
        `reason`, ...
    """
    announce("chiasm models: what is supported; the list takes seconds to load.")
    if all:
        _print_types(as_json=json)
        return
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


def _print_types(*, as_json: bool) -> None:
    from chiasm.models.mapped import STATUSES, mapped_types, mapped_version
    from chiasm.models.support import verbs_of

    types = mapped_types()
    if as_json:
        print_json([one.row() for one in types])
        return
    counts = {status: sum(one.status == status for one in types) for status in STATUSES}
    print(f"The {len(types)} multimodal types that transformers {mapped_version()} maps, by small models with random")
    print("weights, or by their configurations alone where these refuse them (docs/models.md):")
    print("  " + ", ".join(f"{n} {status}" for status, n in counts.items()))
    width = max(len(one.type) for one in types)
    for one in types:
        can = verbs_of(one.capabilities) if one.capabilities else {}
        able = [verb for verb, why in can.items() if why.startswith("yes")]
        print(f"  {one.type:<{width}}  {one.status:<9}  {', '.join(able) or one.reason}")
