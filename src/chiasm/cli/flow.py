"""`chiasm flow`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from chiasm.cli.options import Memory, Model, Place, Study


def flow(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    cut: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    window: int = 9,
    windows: Literal["centred", "all", "prefix", "suffix"] = "centred",
    keep: Literal["correct", "all"] = "correct",
    target: Literal["first", "answer"] = "first",
    controls: bool = True,
    twin: str | None = None,
    draws: int = 1,
    patches: int = 0,
    patch_size: int | None = None,
    words: int = 0,
    memory: Memory = None,
    executor: Literal["lockstep", "reference"] = "lockstep",
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Where and when does image information reach the question and the answer?

    Cuts attention between parts of the sequence in a window of layers around every layer, and measures what the
    answer loses. Writes tables, figures and report.html.

    The embedded model, on the embedded world:

        chiasm flow tiny

    Your model, your data, two cuts, the papers' filter off:

        chiasm flow llava-hf/llava-1.5-7b-hf --data my.jsonl --keep all --cut "image->last" --cut "image->question"

    Close the route through the instruction as well, and take the feed-forward away from the question:

        chiasm flow tiny --cut "image->question+suffix+last" --cut zero:mlp@question

    Which patches matter, drawn over the first six images:

        chiasm flow tiny --patches 6

    Spans: prefix, image, video, audio, between, question, suffix, last; image.object, image.other, image[0],
    image.newline, image.base, image.hd; video[0], video.frame[0]; audio[0]; question.options, question.option.true,
    question.option.false, question.objects; answer (with --target answer). `a+b` is the union of two.

    Parameters
    ----------
    cut
        SOURCE->TARGET, or zero:attention@SPAN, zero:mlp@SPAN. Repeat it for several. Default: the papers' six
        (of a video or a sound, those four that name no object).
    window
        Layers per window.
    windows
        Around every layer, every range of layers, or all ranges from the first or to the last layer.
    keep
        Only examples that the model answers correctly, as in the papers, or all.
    target
        Follow the first token of the model's answer, or every token of the labelled answer.
    controls
        Random keys, swapped images, doses and the random-weights twin beside every curve.
    twin
        Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none.
    draws
        Random draws per control.
    patches
        For the first so many examples, cut every patch on its own.
    patch_size
        Patches per side of a super-patch. Default: at most 150 per image.
    words
        For the first so many examples, decode words at the question and compare them with the captions.
    executor
        All cuts in one walk down the layers, or one full pass per cut (slow, the yardstick).
    """
    from chiasm import api
    from chiasm.cli.told import tell

    out = study.directory("flow", model)
    view = place.load(model)
    run = api.flow(
        view,
        **study.arguments(),
        cuts=cut or None,
        window=window,
        windows=windows,
        keep=keep,
        target=target,
        controls=controls,
        twin=twin,
        draws=draws,
        patches=patches,
        patch_size=patch_size,
        words=words,
        memory=memory,
        executor=executor,
        device=place.device,
        dtype=place.dtype,
        out=out,
    )
    if windows == "centred" and 2 * window > view.n_layers:
        advice = f"--window {max(1, view.n_layers // 2)} or less tells layers apart"
        print(f"Windows of {window} layers are wide for a model of {view.n_layers}: {advice}.", file=sys.stderr)
    tell(run)
