"""What an information-flow run was asked to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Section, option
from chiasm.core.spans import PERCEPTUAL, require_known
from chiasm.data.tasks import Task
from chiasm.interventions import (
    AttentionKnockout,
    HeadIntervention,
    Intervention,
    Window,
    all_windows,
    centred,
    names_heads,
    of_each_head,
    parse_heads,
    parse_intervention,
    prefixes,
    suffixes,
)
from chiasm.interventions.routes import Route
from chiasm.studies.flow.tables import SMALLEST
from chiasm.studies.options import ControlledSpec, ExecutorName, memory_option, random_models_option

PAPER_CUTS: Final = (
    "question->last",
    "image->last",
    "last->last",
    "image->question",
    "image.object->question",
    "image.other->question",
)
"""The six published pairs (Zhang et al. 2025, README of the released code)."""

WORD_CUTS: Final = (
    "{0}->question+suffix+last+answer",
    "{0}->last+answer",
    "question->last+answer",
    "answer->answer",
)
"""For words of an answer, every token of which reads as the last position does: all routes from what is perceived
(`{0}`), the direct one, the question's, and that from the words before.
"""

_OTHER_CUTS: Final = ("question->last", "{0}->last", "last->last", "{0}->question")

WindowStyle = Literal["centred", "all", "prefix", "suffix"]
Keep = Literal["correct", "all"]
Target = Literal["first", "answer", "words"]


@dataclass(frozen=True, kw_only=True)
class FlowSpec(ControlledSpec):
    """Where and when does image information reach the question and the answer?

    Cuts attention between parts of the sequence in a window of layers around every layer, and measures what the
    answer loses. Writes tables, figures and report.html.

    The embedded model, on the embedded world:

        chiasm flow tiny

    Your model, your data, two cuts, the papers' filter off:

        chiasm flow llava-hf/llava-1.5-7b-hf --data my.jsonl --keep all --cut "image->last" --cut "image->question"

    Close the route through the instruction as well, and take the feed-forward away from the question:

        chiasm flow tiny --cut "image->question+suffix+last" --cut zero:mlp@question

    Is as much lost with nothing blocked, but the image's states averaged until layer l, for every l?

        chiasm flow tiny --cut "mean:image->question+suffix+last" --windows prefix

    Is as much lost where the image's states are replaced, from layer l on, by their mean over examples, or by another
    example's?

        chiasm flow tiny --cut ablate:mean@image --cut ablate:resample@image --windows suffix

    How many answers stay right with these two routes alone, and which are the fewest that suffice?

        chiasm flow tiny --keep-only "image->question" --keep-only "question->last" --sufficient 120

    Which patches matter, drawn over the first six images:

        chiasm flow tiny --patches 6 --shapley 8

    Which head of which layer carries a route? Each head on its own, its edges cut and its output taken away:

        chiasm flow tiny --heads --cut "image->question" --cut "image->last"

    Two heads by number, and every group of heads that shares its keys:

        chiasm flow tiny --cut "image->last@heads=0,3" --cut "zero:heads=groups@last"

    Which words of a description depend on the image, and in which layers? Objects that are there, and that are not:

        chiasm flow tiny --task caption --target words

    Spans: prefix, image, video, audio, between, question, suffix, last; image.object, image.other, image[0],
    image.newline, image.base, image.hd, image.end; video[0], video.frame[0]; audio[0]; question.options,
    question.option.true, question.option.false, question.objects; answer (with --target answer or words). `a+b` is the
    union of two.

    Source: Zhang et al. 2025 (arXiv 2411.18620), section 3. A cut shows what the model loses without a route while
    others stay open (the instruction after the question is one, unless `suffix` is cut as well): less than the route
    carries where the model makes up for it, more where attention that is taken away does harm by itself.
    """

    controls: bool = option(
        True, "Random keys, swapped images, doses and the random-weights baseline beside every curve.", common=True
    )
    cuts: str | Sequence[str] | None = option(
        None,
        "SOURCE->TARGET, mean:SOURCE->TARGET (attend to the source's mean state), zero:attention@SPAN, "
        "zero:mlp@SPAN, ablate:mean@SPAN or ablate:resample@SPAN (states replaced by their mean over examples, or by "
        "another example's); one attention head at a time, in one layer at a time: SOURCE->TARGET@heads=all, "
        "zero:heads@SPAN (heads=3,5 names some, heads=groups takes those that share keys together), with the same "
        "cut of all heads beside it. Repeat it for several. Default: the papers' six (of a "
        "video or a sound, those four that name no object).",
        common=True,
    )
    heads: bool = option(
        False,
        "Every attention head of every layer on its own as well, for each cut SOURCE->TARGET that is no part of "
        "another: SOURCE->TARGET@heads=all and zero:heads@TARGET.",
        common=True,
    )
    window: int | None = option(
        None,
        "Layers per window. Default: 9 for 27 layers and more, below that the largest odd number up to a third of "
        "them, so that centres differ. The released code sweeps 9; its plots read 9 for LLaVA-1.5-13B and 7 for the "
        "three other models (vil/merge_lineplot.py, commit beac96c).",
        at_least=1,
        common=True,
    )
    windows: WindowStyle = option(
        "centred", "Around every layer, every range of layers, or all ranges from the first or to the last layer."
    )
    keep: Keep = option(
        "correct", "Only examples that the model answers correctly, as in the papers, or all.", common=True
    )
    target: Target = option(
        "first",
        "Follow the first token of the model's answer, every token of the labelled answer, or every word of the "
        "model's own whole answer on its own.",
        common=True,
    )
    task: Task = option(
        "qa",
        "The data's own questions, or a request to describe each input (without the default --instruction), or whether "
        "objects are there (POPE, from boxes).",
    )
    objects: str | Path | None = option(
        None,
        "Objects that words of the answer may name, a file with one a line, then synonyms. Default: the names of the "
        "boxes; of `scenes` its shapes.",
        typed_as=str | None,
    )
    max_new_tokens: int | None = option(
        None,
        "Longest answer whose words are followed, in tokens. Default: 32, for descriptions 128.",
        at_least=1,
    )
    draws: int = option(1, "Random draws per control.", at_least=1)
    random_models: int = random_models_option(5, "share the examples")
    smallest_effect: float = option(
        SMALLEST, "Smallest change of a log-probability worth naming, in nat; 0.05 is about 5 %.", below=10
    )
    patches: int = option(
        0,
        "For the first so many examples, what every patch (token) of the image adds: hidden alone, and kept alone. "
        "For 576 tokens, as LLaVA-1.5 has, about 34 and 36 clean passes, and as much again with a baseline.",
        at_least=0,
        common=True,
        of_first=True,
    )
    patch_size: int | None = option(
        1,
        "Tokens per side of a super-patch. What a map shows depends on it: larger patches hide whole objects. "
        "In Python, None: as many as keep them to 150 per image.",
        at_least=1,
    )
    shapley: int = option(
        0,
        "Random orders of the patches for a sampled Shapley value beside: each costs as much as hiding every patch "
        "once. Of two patches that stand in for each other, only this and keeping one alone show either.",
        at_least=0,
    )
    words: int = option(
        0,
        "For the first so many examples, decode words at the question and compare them with the captions.",
        at_least=0,
        of_first=True,
    )
    keep_only: str | Sequence[str] | None = option(
        None,
        "SOURCE->TARGET or SOURCE->TARGET@layers=A-B that stays open while every other route between top-level spans "
        "is closed in all layers: how many answers stay right. Repeat it for several, which stay open together.",
    )
    sufficient: int = option(
        0,
        "Search the fewest routes that suffice, on half of the first so many examples that are followed; the other "
        "half says how many answers they keep right.",
        at_least=0,
        common=True,
    )
    bands: int = option(3, "Parts of the layers in which the search opens and closes a route on its own.", at_least=1)
    sufficient_loss: float = option(
        0.1,
        "What a sufficient set of routes may cost: mean loss of log-probability in the half that chooses, in nat; "
        "gains of some examples make up for no loss of others.",
        above=0,
    )
    memory: int | str | None = memory_option()
    executor: ExecutorName = option(
        "lockstep",
        "All cuts in one walk down the layers, or one full pass per cut (slow, the yardstick).",
        section=Section.COMPUTE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cuts is not None and not self.cuts:
            raise ChiasmError("a run without cuts", "there is nothing to measure", f"Name one, as `{PAPER_CUTS[0]}`")
        cuts = list(self.cuts or ())
        repeated = sorted({cut for cut in cuts if cuts.count(cut) > 1})
        if repeated:
            raise ChiasmError("these cuts", f"`{repeated[0]}` is given twice", "Give every cut once")
        for text in cuts:
            named = parse_heads(text) if names_heads(text) else parse_intervention(text)
            for span in named.spans:
                require_known(f"--cut {text}", span)
        routes = [Route.parse(text) for text in self.routes]
        split = [one for route in routes for one in route.split()]
        if len(set(split)) < len(split):
            found = f"`{next(one.text for one in split if split.count(one) > 1)}` is given twice"
            raise ChiasmError("these routes to keep open", found, "Give every route once")
        if self.heads and cuts and not any(isinstance(one, AttentionKnockout) for one in self.interventions()):
            found = "no --cut names a pair of spans, and heads are cut between two"
            raise ChiasmError("--heads", found, f"Name one, as `{PAPER_CUTS[1]}`, or leave --heads out")
        self._check_target()
        if self.windows != "centred" and self.window is not None:
            found = "windows of all widths are cut there" if self.windows == "all" else "these ranges have no width"
            raise ChiasmError(f"--windows {self.windows} --window {self.window}", found, "Leave --window out")

    def _check_target(self) -> None:
        words = self.target == "words"
        given = {"--objects": self.objects, "--max-new-tokens": self.max_new_tokens}
        for name in () if words else (name for name, value in given.items() if value is not None):
            found = "it is about words of the model's own answer, and they are not followed"
            raise ChiasmError(f"--target {self.target} {name}", found, f"Give --target words, or leave {name} out")
        for name, value in {"--keep-only": self.routes, "--sufficient": self.sufficient}.items() if words else ():
            if value:
                found = "it asks how many answers stay right, and not what single words lose"
                raise ChiasmError(f"--target words {name}", found, f"Leave {name} out, or --target words")
        if self.task == "caption" and (self.target == "answer" or (self.keep == "correct" and not words)):
            found = "a description has no labelled answer"
            todo = "Give --target words, or --target first --keep all"
            raise ChiasmError(f"--task caption --target {self.target}", found, todo)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes of `keep_only`, as typed."""
        given = self.keep_only
        return () if given is None else (given,) if isinstance(given, str) else tuple(given)

    @property
    def smallest(self) -> float | None:
        return self.smallest_effect

    def title(self) -> tuple[str, ...]:
        return (*(() if self.task == "qa" else (self.task,)), *super().title())

    def interventions(self) -> tuple[Intervention, ...]:
        """The cuts and ablations of all heads together, parsed: those asked for, and those behind single heads."""
        whole = [parse_heads(text).whole if names_heads(text) else parse_intervention(text) for text in self._cuts]
        return tuple({one.text: one for one in whole}.values())

    def head_interventions(self) -> tuple[HeadIntervention, ...]:
        """What is done to single heads, parsed."""
        found = [parse_heads(text) for text in self._cuts if names_heads(text)]
        pairs = [one for one in self.interventions() if isinstance(one, AttentionKnockout)] if self.heads else []
        for one in pairs:
            if not any(is_part(one.text, other.text) for other in pairs):
                found += of_each_head(one)
        return tuple({one.text: one for one in found}.values())

    @property
    def _cuts(self) -> Sequence[str]:
        return self.cuts or default_cuts(("image",), self.target)

    def width_of(self, layers: int) -> int:
        """Layers per window in a decoder of `layers` layers."""
        return self.window or max(1, min(9, (layers // 3 - 1) // 2 * 2 + 1))

    def require_several_windows(self, layers: int) -> None:
        """**Errors:** `ChiasmError` for windows so wide that each of them is the whole model."""
        whole = all((window.start, window.stop) == (0, layers) for window in self.windows_of(layers))
        if whole and layers > 1:
            found = (
                f"each window takes in all {layers} layers of this model, so that every layer would show the same cut"
            )
            todo = f"Give --window {max(1, layers // 2)} or less, which separates layers"
            raise ChiasmError(f"--window {self.window}", found, todo)

    def windows_of(self, layers: int) -> tuple[Window, ...]:
        """The windows over a decoder of `layers` layers."""
        match self.windows:
            case "centred":
                return centred(layers, self.width_of(layers))
            case "all":
                return all_windows(layers)
            case "prefix":
                return prefixes(layers)
            case "suffix":
                return suffixes(layers)


def is_part(cut: str, whole: str) -> bool:
    """Whether a cut is of a part of what another is of, as `image.object->question` of `image->question`."""
    (source, _, target), (all_of_it, _, same) = (text.partition("->") for text in (cut, whole))
    return target == same and source.startswith(f"{all_of_it}.")


def default_cuts(kinds: Iterable[str], target: Target = "first") -> tuple[str, ...]:
    """The published pairs for what examples show or play; objects have places in images alone. Of a whole answer that
    is followed word by word, its own tokens are targets as well.
    """
    given = set(kinds)
    if target == "words":
        senses = [kind for kind in PERCEPTUAL if kind in given] or ["image"]
        return tuple(dict.fromkeys(cut.format(kind) for kind in senses for cut in WORD_CUTS))
    senses = [kind for kind in PERCEPTUAL if kind in given]
    found = [PAPER_CUTS if kind == "image" else tuple(cut.format(kind) for cut in _OTHER_CUTS) for kind in senses]
    return tuple(dict.fromkeys(cut for cuts in found for cut in cuts)) or PAPER_CUTS
