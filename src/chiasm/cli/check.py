"""`chiasm check`."""

from chiasm.cli.options import Model, Place


def check(model: Model, /, *, place: Place = Place()) -> int:  # noqa: B008 (frozen)
    """Do the numbers of this model mean anything? Tries every law that a model must obey, on inputs made on the spot.

    Ends with 1 if a law is broken.

        chiasm check tiny
    """
    from chiasm import api

    view = api.load(model, device=place.device, dtype=place.dtype, trust_remote_code=place.trust_remote_code)
    laws = api.check(view)
    width = max(len(law.name) for law in laws)
    for law in laws:
        measured = "" if law.value is None else f"{law.value:.1e}"
        print(f"{'ok' if law.ok else 'NO':<3} {law.name:<{width}} {measured:>8}  {law.reason}".rstrip())
    broken = sum(not law.ok for law in laws)
    print(f"{view.name} ({view.family.name}): {len(laws) - broken} of {len(laws)} laws hold.")
    return 1 if broken else 0
