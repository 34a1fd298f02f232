"""`chiasm check`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.studies.options import DataType


def check(
    model: str,
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    device: str | None = None,
    dtype: DataType | None = None,
    trust_remote_code: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Do the numbers of this model mean anything? Tries every law that a model must obey, on inputs made on the spot.

    Ends with 1 if a law is broken.

        chiasm check tiny
        chiasm check ./my-model --json

    Parameters
    ----------
    model
        `tiny`, a hub id, or a directory written by `save_pretrained`.
    json
        Print one object, for programs: `model`, `family`, and `laws`, each with `name`, `ok` (null where it does not
        apply), `value`, `reason`.
    device
        `cpu`, `cuda`, `cuda:1`, or `auto`. Default: the first GPU, else the CPU.
    dtype
        Arithmetic of the model. Default: as in the checkpoint.
    trust_remote_code
        Let a checkpoint run code of its authors. Off unless you say so.
    """
    from json import dumps

    from chiasm.models.conformance import check as check_laws
    from chiasm.studies.inputs import load

    view = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    laws = check_laws(view)
    broken = sum(law.ok is False for law in laws)
    if json:
        listed = [law._asdict() for law in laws]
        print(dumps({"model": view.name, "family": view.family.name, "laws": listed}, indent=1))
        return 1 if broken else 0
    width = max(len(law.name) for law in laws)
    marks = {True: "ok", False: "NO", None: "-"}
    for law in laws:
        measured = "" if law.value is None else f"{law.value:.1e}"
        print(f"{marks[law.ok]:<3} {law.name:<{width}} {measured:>8}  {law.reason}".rstrip())
    asked = sum(law.ok is not None for law in laws)
    print(f"{view.name} ({view.family.name}): {asked - broken} of {asked} laws hold.")
    return 1 if broken else 0
