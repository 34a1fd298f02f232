"""`chiasm skip`."""

import re
import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from chiasm.cli.options import Memory, Model, Place, Study
from chiasm.core.errors import ChiasmError


def share(text: str) -> float:
    """A share from `1%` or `0.01`.

    **Errors:** `ChiasmError` for anything else.
    """
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", text)
    if not match:
        raise ChiasmError(f"--max-loss {text}", "it is no share", "Write for example 1% or 0.01")
    return float(match[1]) / (100 if match[2] else 1)


def _share(type_: Any, tokens: Any) -> float:
    return share(tokens[0].value)


def skip(
    model: Model,
    /,
    *,
    study: Study = Study(),  # noqa: B008 (frozen)
    max_loss: Annotated[float, Parameter(converter=_share)] = 0.01,
    span: Literal["image", "video", "audio", "text", "all"] | None = None,
    calibration: int = 32,
    peers: bool = True,
    controls: bool = True,
    twin: str | None = None,
    draws: int = 2,
    repeats: int = 7,
    max_new_tokens: int = 32,
    memory: Memory = None,
    executor: Literal["lockstep", "reference"] = "lockstep",
    train_with_plan: Literal["projector", "lora"] | None = None,
    train_plan: str | None = None,
    train_on: str | None = None,
    train_examples: int = 1024,
    train_steps: int = 200,
    train_rate: float | None = None,
    place: Place = Place(),  # noqa: B008 (frozen)
) -> None:
    """Which work on perceptual tokens can be left out, at what loss, and how much time does that save?

    Measures what each layer's feed-forward and attention contribute for the tokens of a span, proposes plans, verifies
    them on other examples beside the published methods, times them, and writes the recommended one to plan.json.

    The embedded model, on the embedded world:

        chiasm skip tiny

    Your model, your data, up to two of a hundred answers:

        chiasm skip llava-hf/llava-1.5-7b-hf --data my.jsonl --max-loss 2%

    A cheaper plan, and the projector trained to live with it (kept in `recovered/` of the run):

        chiasm skip tiny --train-with-plan projector

    Then, in Python, `chiasm.apply(model, "runs/...")` gives an ordinary transformers model that skips.

    Parameters
    ----------
    max_loss
        Share of right answers that may be lost, as 1% or 0.01.
    span
        Whose work is left out. Default: images, or whatever else the examples have besides text.
    calibration
        Examples that contributions are measured on; the others verify.
    peers
        Also visual and textual feed-forward skipping, ShortV, V-Skip, FastV, tokens dropped at random, and the
        companion paper's blocks.
    controls
        Random layers beside every proposal, and the random-weights twin.
    twin
        Model with random weights and the same shape. Default: `tiny-random` for the embedded models, else none.
    draws
        Random draws of layers per proposal.
    repeats
        Timed calls of every plan.
    max_new_tokens
        Longest answer.
    executor
        All contributions in one walk down the layers, or one full pass each (slow, the yardstick).
    train_with_plan
        Then fine-tune the projector, or LoRA, with a plan in effect: what comes back, beside training without it.
    train_plan
        Plan to train with, by its name in the table `plans`. Default: the one with the fewest operations.
    train_on
        Examples to train on. Default: the other split of `scenes`, else the calibration examples.
    train_examples
        At most so many of them.
    train_steps
        Steps of 16 examples.
    train_rate
        Learning rate. Default: 1e-4 for the projector and 2e-4 for LoRA at width 4096; narrower decoders take more, up
        to 5e-4 and 5e-3.
    """
    from chiasm import api
    from chiasm.cli.told import tell

    out = study.directory("skip", model)
    view = place.load(model)
    run = api.skip(
        view,
        **study.arguments(),
        max_loss=max_loss,
        span=span,
        calibration=calibration,
        peers=peers,
        controls=controls,
        twin=twin,
        draws=draws,
        repeats=repeats,
        max_new_tokens=max_new_tokens,
        memory=memory,
        executor=executor,
        train_with_plan=train_with_plan,
        train_plan=train_plan,
        train_on=train_on,
        train_examples=train_examples,
        train_steps=train_steps,
        train_rate=train_rate,
        device=place.device,
        dtype=place.dtype,
        say=lambda text: print(text, file=sys.stderr),
        out=out,
    )
    tell(run)
    if (run.path / "plan.json").exists():
        print(f"Plan: {run.path / 'plan.json'}")
    if train_with_plan is not None:
        print(f"Trained model: {run.path / 'recovered'}")
