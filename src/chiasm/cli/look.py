"""`chiasm look`."""

from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.options import Model, Place, Study


def look(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    query: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    heads: Annotated[bool, Parameter(negative="")] = False,
    maps: int = 4,
    controls: bool = True,
    twin: str | None = None,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Where does my model look?

    Attention of the tokens you choose, layer by layer, and the word that each image token is closest to; both drawn
    over the image. The attention of all tokens is never held at once, and eager attention is not needed.

    The embedded model, on the embedded world:

        chiasm look tiny

    Your model, your data, from the question and from the last token, every head kept in the table:

        chiasm look llava-hf/llava-1.5-7b-hf --data my.jsonl --query question --query last --heads

    Parameters
    ----------
    query
        Span whose tokens look (the mean over them); repeat it. Default: last.
    heads
        Keep every head in the table, not only their mean.
    maps
        Draw the first so many examples, and decode the words of their image tokens.
    controls
        The random-weights twin beside every curve.
    twin
        Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none.
    """
    from chiasm import api
    from chiasm.cli.told import tell

    out = study.directory("look", model)
    run = api.look(
        place.load(model),
        **study.arguments(),
        query=query or ("last",),
        heads=heads,
        maps=maps,
        controls=controls,
        twin=twin,
        device=place.device,
        dtype=place.dtype,
        out=out,
    )
    tell(run)
