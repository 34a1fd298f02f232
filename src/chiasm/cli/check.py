"""`chiasm check`."""

from dataclasses import dataclass
from typing import Any

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce, command_of, spec_of
from chiasm.core.text import printable
from chiasm.studies.names import require_names
from chiasm.studies.options import LoadingOptions, Model, model_name, studied_option


@dataclass(frozen=True)
class CheckSpec(LoadingOptions):
    """Do the numbers of this model mean anything? Tries every law that a model must obey, on inputs made on the spot.

    Ends with 1 if a law is broken.

        chiasm check tiny
        chiasm check ./my-model --json
    """

    model: Model = studied_option()


_AS_JSON = (
    "Print one object, for programs: `model`, `family`, and `laws`, each with `name`, `ok` (null where it does not "
    "apply), `value`, `reason`."
)


def _run(given: dict[str, Any]) -> int:
    json = given.pop("json", False)
    spec = spec_of(CheckSpec, given)
    require_names(spec)
    announce(f"chiasm check of {model_name(spec.model)}: every law that a model must obey, which takes some seconds.")
    from chiasm.models.conformance import check as check_laws
    from chiasm.studies.inputs import view_of

    view = view_of(spec.model, spec)
    laws = check_laws(view)
    broken = sum(law.ok is False for law in laws)
    if json:
        listed = [law._asdict() for law in laws]
        print_json({"model": view.name, "family": view.family.name, "laws": listed})
        return 1 if broken else 0
    width = max(len(law.name) for law in laws)
    marks = {True: "ok", False: "NO", None: "-"}
    for law in laws:
        measured = "" if law.value is None else f"{law.value:.1e}"
        print(printable(f"{marks[law.ok]:<3} {law.name:<{width}} {measured:>8}  {law.reason}".rstrip()))
    asked = sum(law.ok is not None for law in laws)
    print(f"{view.name} ({view.family.name}): {asked - broken} of {asked} laws hold.")
    return 1 if broken else 0


check = command_of("check", CheckSpec, _run, json=_AS_JSON)
