"""`chiasm models`."""

from typing import Annotated

from cyclopts import Parameter


def models(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Which families of models are supported, and which models are embedded.

        chiasm models
        chiasm models --json

    Parameters
    ----------
    json
        Print JSON, for programs.
    """
    from json import dumps

    from chiasm.models.families import FAMILIES
    from chiasm.tiny import NAMES, names

    families = [{"name": f.name, "kind": f.kind, "model_types": list(f.model_types)} for f in FAMILIES]
    embedded = [{"name": name, "what": NAMES[name]} for name in names()]
    if json:
        print(dumps({"families": families, "embedded": embedded}, indent=1))
        return
    print("Families (`model_type` in config.json):")
    for family in families:
        print(f"  {family['name']:<12} {family['kind']:<44} {', '.join(family['model_types'])}")
    print("Embedded:")
    for one in embedded:
        print(f"  {one['name']:<12} {one['what']}")
