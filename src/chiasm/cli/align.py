"""`chiasm align`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.options import Model, Place, Study
from chiasm.data.tasks import Task


def align(
    model: Model | None = None,
    /,
    *,
    compare: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    task: Annotated[tuple[Task, ...], Parameter(negative="")] = (),
    objects: Path | None = None,
    paper: Annotated[bool, Parameter(negative="")] = False,
    study: Study = Study(),  # noqa: B008 (frozen)
    span: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    as_released: Annotated[bool, Parameter(negative="")] = False,
    inside: bool = True,
    token_pairs: Annotated[bool, Parameter(negative="")] = False,
    by_task: Annotated[bool, Parameter(negative="")] = False,
    vocabulary_tokens: int = 16,
    controls: bool = True,
    control_limit: int = 64,
    twin: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    apart: int | None = None,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Do image and text tokens share a space, and how fast does either change?

    One plain pass of the untouched model gives norms, change from layer to layer, similarities, nearest words, the
    weights that either needs, and the alignment score, with intervals and controls.

    The embedded model, on the embedded world:

        chiasm align tiny

    Your model, your data, other spans, and the released code's forms beside the right ones:

        chiasm align llava-hf/llava-1.5-7b-hf --data my.jsonl --span image --span question+suffix --as-released

    Does the score go with accuracy over models, checkpoints or variants?

        chiasm align --compare tiny tiny@aligned tiny@text tiny-random --limit 60 --task caption --task pope-random

    The paper's figures for all embedded models, or for yours:

        chiasm align tiny --paper
        chiasm align --paper --compare my-model my-model-500 my-model-1000 --data my.jsonl

    Parameters
    ----------
    compare
        Models to compare, instead of one model: score and accuracy of each on the same examples.
    task
        With --compare, measure this on the same data too (caption: CIDEr-D and CHAIR; pope-random and so on: POPE).
    objects
        With --compare, objects for CHAIR, one a line, then synonyms. Default: the boxes' names; of `scenes` its shapes.
    paper
        Figures 2, 3, 7, 8, 9, 13 and 22 of the paper, of the models behind --compare or of all embedded ones (--twin:
        those of them that have random weights).
    span
        Part of the sequence to read; repeat it. Default: image, video, audio (as far as there is any) and question.
    as_released
        Also the forms of the released code where they are not the right ones.
    inside
        Also read between the parts of every block.
    token_pairs
        Also medians and extremes over all pairs of tokens inside the blocks, which is dear.
    by_task
        Also compare the weights that question types need.
    vocabulary_tokens
        Tokens per span and example that are read in words, at nine depths; 0 for none. Costs most of all.
    controls
        Random tokens in place of the image, and the random-weights twin.
    control_limit
        Run controls on the first so many examples.
    twin
        Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none. With
        --paper repeat it: the one asked about the same data stands beside a model.
    apart
        First blocks that keep the modalities apart in one of the controls; 0 for none. Default: half of them.
    """
    from chiasm import api
    from chiasm.cli.told import tell
    from chiasm.core.errors import ChiasmError
    from chiasm.studies.align.spec import DEFAULT_SPANS

    # What belongs to one model alone: (as given, as it stands by default).
    alone = {
        "--as-released": (as_released, False),
        "--token-pairs": (token_pairs, False),
        "--by-task": (by_task, False),
        "--no-inside": (inside, True),
        "--vocabulary-tokens": (vocabulary_tokens, 16),
        "--no-controls": (controls, True),
        "--control-limit": (control_limit, 64),
        "--apart": (apart, None),
    }
    unused = [name for name, (given, default) in alone.items() if given != default]
    if paper:
        if unused or task or objects:
            found = f"{', '.join(unused) or '--task or --objects'} was given, which it has not"
            raise ChiasmError("--paper", found, "Give that option for one model alone")
        _paper(model, compare, study, span, twin, place)
        return

    if (model is None) == (not compare):
        found = "a model and --compare were given" if compare else "no model was named"
        raise ChiasmError("measure alignment", found, "Name one model, or several behind --compare")
    if model is None:
        if unused or twin:
            found = f"{', '.join(unused) or '--twin'} was given, which it has not"
            raise ChiasmError("--compare", found, "Give that option for one model alone; name a twin among the models")
        out = study.directory("align", "compared")
        options = {"device": place.device, "dtype": place.dtype, "task": task, "objects": objects, "out": out}
        tell(api.compare(compare, **study.arguments(), span=span or DEFAULT_SPANS, **options))
        return
    if task or objects:
        raise ChiasmError("measure alignment", "--task belongs to --compare", "Measure one model by chiasm eval --task")
    if len(twin) > 1:
        raise ChiasmError(f"--twin {' '.join(twin)}", "one model has one twin", "Give one, or several with --paper")
    out = study.directory("align", model)
    view = place.load(model)
    run = api.align(
        view,
        **study.arguments(),
        span=span or DEFAULT_SPANS,
        as_released=as_released,
        inside=inside,
        token_pairs=token_pairs,
        by_task=by_task,
        vocabulary_tokens=vocabulary_tokens,
        controls=controls,
        control_limit=control_limit,
        twin=twin[0] if twin else None,
        apart=apart,
        device=place.device,
        dtype=place.dtype,
        out=out,
    )
    tell(run)


def _paper(
    model: str | None, models: tuple[str, ...], study: Study, span: tuple[str, ...], twin: tuple[str, ...], place: Place
) -> None:
    from chiasm.api.papering import paper
    from chiasm.cli.told import tell
    from chiasm.core.errors import ChiasmError

    if model not in (None, "tiny") or (model is None) == (not models):
        found = f"{model or 'no model'} and {len(models)} behind --compare"
        raise ChiasmError("--paper", found, "Say `tiny --paper` for all embedded models, or name several by --compare")
    options = study.arguments() | {"data": study.data, "out": study.directory("align", "paper")}
    options |= {"device": place.device, "dtype": place.dtype, "twin": twin}
    tell(paper(models or None, **options, **({"span": span} if span else {})))
