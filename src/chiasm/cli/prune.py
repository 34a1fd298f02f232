"""`chiasm prune`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from chiasm.cli.options import Memory, Model, Place, Study


def prune(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    sparsity: Annotated[tuple[float, ...], Parameter(negative="")] = (),
    pattern: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    part: Annotated[tuple[Literal["all", "ffn", "attention"], ...], Parameter(negative="")] = (),
    calibrate_on: str | None = None,
    calibration: int = 128,
    tokens: int | None = None,
    combine: bool = True,
    ablate: float | None = None,
    controls: bool = True,
    twin: str | None = None,
    export: Path | None = None,
    export_mask: Literal[
        "wanda",
        "wanda-centred",
        "wanda-cumulative",
        "intersection",
        "majority",
        "mean-score",
        "magnitude",
        "magnitude-row",
    ] = "wanda",
    max_new_tokens: int | None = None,
    memory: Memory = None,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Which weights can be left out, at what loss, and does one mask serve all tasks?

    Wanda masks on the decoder's linear layers, calibrated on all questions, on each type, on image tokens and on text
    tokens; common masks combined from them; magnitude and random masks beside them. Scores and perplexity before and
    after, on examples that no mask has seen.

    The embedded model, on the embedded world:

        chiasm prune tiny

    Your model at one sparsity, and the result as a checkpoint that plain transformers loads:

        chiasm prune llava-hf/llava-1.5-7b-hf --data my.jsonl --sparsity 0.5 --export pruned/

    The pattern that sparse tensor cores run, feed-forward and attention apart:

        chiasm prune tiny --pattern 2:4 --part ffn --part attention

    Parameters
    ----------
    sparsity
        Share of zeroed weights per output row; repeat it. Default: 0.3, 0.5 and 0.7.
    pattern
        `unstructured`, or N:M (N of every M consecutive inputs are zeroed), which has its own sparsity.
    part
        All matrices, only feed-forward, or only attention; repeat it to compare.
    calibrate_on
        Examples to calibrate on. Default: the other split of `scenes`, else a part of the data, not evaluated.
    calibration
        Calibration examples, for all types together and for each.
    tokens
        Calibration tokens of every mask. Default: as many as the smallest set has.
    combine
        Also masks by question type and by modality, and their combinations.
    ablate
        Also zero this share of the weights, as 0.015, where the masks of image and of text tokens agree, and where they
        do not, beside as many at random.
    controls
        Magnitude and random masks, and the random-weights twin.
    twin
        Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none.
    export
        New folder for the pruned model. Needs one sparsity or pattern, and one part.
    export_mask
        Mask of the exported model.
    max_new_tokens
        Longest answer. Default: a little more than the longest label.
    """
    from chiasm import api
    from chiasm.cli.told import tell
    from chiasm.interventions.masks import UNSTRUCTURED

    out = study.directory("prune", model)
    view = place.load(model)
    run = api.prune(
        view,
        **study.arguments(),
        sparsity=sparsity,
        pattern=pattern or (UNSTRUCTURED,),
        part=part or ("all",),
        calibrate_on=calibrate_on,
        calibration=calibration,
        tokens=tokens,
        combine=combine,
        ablate=ablate,
        controls=controls,
        twin=twin,
        export=export,
        export_mask=export_mask,
        max_new_tokens=max_new_tokens,
        memory=memory,
        device=place.device,
        dtype=place.dtype,
        say=lambda text: print(text, file=sys.stderr),
        out=out,
    )
    tell(run)
    if export is not None:
        print(f"Pruned model: {export}")
