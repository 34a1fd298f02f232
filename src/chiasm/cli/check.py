"""`chiasm check`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.options import Model, Place


def check(
    model: Model,
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> int:
    """Do the numbers of this model mean anything? Tries every law that a model must obey, on inputs made on the spot.

    Ends with 1 if a law is broken.

        chiasm check tiny
        chiasm check ./my-model --json

    Parameters
    ----------
    json
        Print one object, for programs: `model`, `family`, and `laws`, each with `name`, `ok` (null where it does not
        apply), `value`, `reason`.
    """
    from json import dumps

    from chiasm import api

    view = api.load(model, device=place.device, dtype=place.dtype, trust_remote_code=place.trust_remote_code)
    laws = api.check(view)
    broken = sum(law.ok is False for law in laws)
    if json:
        told = [law._asdict() for law in laws]
        print(dumps({"model": view.name, "family": view.family.name, "laws": told}, indent=1))
        return 1 if broken else 0
    width = max(len(law.name) for law in laws)
    marks = {True: "ok", False: "NO", None: "-"}
    for law in laws:
        measured = "" if law.value is None else f"{law.value:.1e}"
        print(f"{marks[law.ok]:<3} {law.name:<{width}} {measured:>8}  {law.reason}".rstrip())
    asked = sum(law.ok is not None for law in laws)
    print(f"{view.name} ({view.family.name}): {asked - broken} of {asked} laws hold.")
    return 1 if broken else 0
