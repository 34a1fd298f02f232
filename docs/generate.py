"""Writes the reference pages that are made from the code: `make docs`.

docs/reference/commands.md from the command line's own help, docs/reference/python.md from signatures and docstrings,
docs/reference/tables.md from the schemas of the tables, docs/support.md from what the conformance suite found of every
family, docs/models.md from what became of every type that transformers maps, docs/published.md from the ledger. A test
compares them with what this file would write, so that no page can fall behind.
"""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import chiasm
from chiasm.cli.application import application
from chiasm.cli.plan import PlanOptions
from chiasm.core.options import declared
from chiasm.core.schema import TableSchema
from chiasm.models.conformance.suite import ALLOWED, CAPABILITIES, MIN_LAYERS
from chiasm.models.families.certificates import HOLDS
from chiasm.models.generic.places import RULES
from chiasm.models.mapped import STATUSES, MappedType, mapped_types, mapped_version
from chiasm.models.support import VERBS, Supported, supported, verbs_of
from chiasm.results.ledger import Entry, Ledger, ledger
from chiasm.results.schemas import CLAIMS, FAILURES
from chiasm.studies.study import study, verbs

DOCS = Path(__file__).parent
_COMMANDS = "# Commands\n\nMade from `chiasm --help` by `make docs`.\n\n"
_PYTHON = """# Python, name by name

Every public name of `chiasm`. [Python in examples](../python.md) shows them at work. Names appear when they are first
used: `import chiasm` alone loads neither torch nor transformers. A command is a function whose parameters are its
options, plural where a flag is repeated. Made from signatures and docstrings by `make docs`.
"""
_NAMES = {
    "Studies": ("flow", "look", "patch", "align", "compare", "paper", "skip", "prune", "project", "evaluate"),
    "Models and data": ("load", "check", "examples", "Example", "Box"),
    "Runs": ("Run", "open", "claims", "diff", "Comparison", "plan"),
    "Inside the model": ("attribute", "neurons", "concepts"),
    "Plans": ("apply", "remove", "save", "read_plan", "recover"),
    "Errors": ("ChiasmError", "ExampleError"),
}
# But not of `torch.dtype` and `torch.device`, which would read as names of parameters.
_MODULES = re.compile(r"\b(?!torch\.d)(?:\w+\.)+(?=\w)")

_TABLES = """# Tables

Every run writes Parquet files under `tables/`. Titles, units and descriptions below are kept in the files' metadata
too. Columns may be added by later versions; none is renamed. Made from the studies by `make docs`.
"""


_SUPPORT = f"""# Which models are supported

Made by `make docs` from what `make certify` found. A family is certified when every law of `chiasm check` that applies
to it holds on a model of its real class and its real processor, with random weights, at least {MIN_LAYERS} layers,
in float64 (log-probabilities equal to {ALLOWED:g}), left padding and two inputs in the batch. Random weights show that
the numbers are computed right, not that they mean something for a trained model: run `chiasm check` on yours.

Not supported: Voxtral, whose processor takes sounds only through mistral-common's chat template, and whose
tokenizer does not show which characters a token stands for, so that no question can be found in the prompt.

A model of a family that is not listed is tried when it is loaded, and what of it cannot be done is refused by
capability; [a page](models.md) says what becomes of every type that transformers maps.

LLaVA's tower and projector may stand before other decoders than Llama. Of 50 kinds tried with random weights (GPT-2 to
Qwen3-MoE, `tests/laws/test_other_decoders.py`) 45 give the effects of plain masked forwards; GPT-Neo and Falcon-H1 do
so with `--executor reference` only; and MPT, Falcon with ALiBi and Bamba are refused by what cannot be done.

The lowest version of transformers is the one that pyproject.toml names; `make certify-lowest` runs the suite on it, and
on any other with `LOWEST=5.x.y`. A family that needs a later one says so when it is opened, and has no row for the
lowest. Tried below it: on 5.19.0 five families obey every law that applies (LLaVA, LLaVA-NeXT and its video form,
Idefics3, Qwen2-VL; others were not tried); on 5.18.0 Qwen2-VL does, while a Llama decoder in float64 stops with a mix
of dtypes (in float32 LLaVA and LLaVA-NeXT obeyed the 17 laws of that time, to 2e-4); on 5.10.2 processors do not show
where they wrote placeholders out, so no example can be encoded.
"""

_PUBLISHED = """# What was published, and what has been measured of it

Made by `make docs` from `src/chiasm/results/published/`, which ships with the package: every headline number and every
figure claim of the papers that chiasm rests on, in words of our own. A run's report shows those that it touches.

**Unverified**: not measured here on the paper's own model and data. **Reproduced**, **contradicted**: measured on them,
with value, interval, n and command. What the embedded model `tiny` shows of a claim stands beside it; that is another
model on other data, so it changes no status. What a paper leaves open, or what of it could not be read, is "unknown".
*Read in*: a "caption" was quoted, or described, by others; "secondary notes" are notes by others. Neither was checked
against the paper.
"""


def commands() -> str:
    """The page of commands: what `--help` says, verb after verb."""
    page = application(every=True).generate_docs()
    page = page[page.index("\n## chiasm ") + 1 :].rstrip() + "\n"
    # Below `chiasm plan` stands every verb with its options once more: those that are its own are enough.
    page = re.sub(r"\n### chiasm plan .*?(?=\n## |\Z)", "", page, flags=re.DOTALL)
    own = "\n".join(f"- `{one.flag}`: {one.option.help}" for one in declared(PlanOptions))
    return f"{_COMMANDS}{page}\nOf `chiasm plan VERB` itself, beside the options of the verb:\n\n{own}\n"


def python() -> str:
    """The page of public names, by what they are for."""
    known = {name for names in _NAMES.values() for name in names}
    assert known == {*chiasm.__all__, "open"}, f"not in one of the groups: {known ^ {*chiasm.__all__, 'open'}}"
    parts = [_PYTHON]
    for title, names in _NAMES.items():
        parts.append(f"\n## {title}\n")
        parts += [_name(name, getattr(chiasm, name)) for name in names]
    return "".join(parts)


def _name(name: str, value: Any) -> str:
    """Heading, signature and docstring of a function; of a class those of its public methods and properties too."""
    lines = [f"\n### chiasm.{name}\n", *_signature(name, value), _docstring(value)]
    if inspect.isclass(value):
        for of, member in vars(value).items():
            if of.startswith("_") or not member.__doc__ or not (inspect.isfunction(member) or _is_property(member)):
                continue
            lines.append(f"\n#### {name}.{of}\n")
            lines += [*([] if _is_property(member) else _signature(of, member)), _docstring(member)]
    return "\n".join(lines) + "\n"


def _is_property(member: Any) -> bool:
    return isinstance(member, property | cached_property)


def _docstring(value: Any) -> str:
    text = inspect.getdoc(value) or ""
    # Of named tuples and exceptions the text of their fields and parents says nothing.
    return text if "Alias for field" not in text else ""


def _signature(name: str, value: Callable[..., Any]) -> list[str]:
    """As it would be written, a parameter a line where one line is too short."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return []
    shown, starred = [], False
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        default = "" if one.default is one.empty else f" = {one.default!r}"
        several = "*" if one.kind is one.VAR_POSITIONAL else ""
        starred = starred or bool(several)
        shown.append(f"{several}{one.name}: {_type(one.annotation)}{default}")
    returns = signature.return_annotation
    arrow = "" if returns is signature.empty or inspect.isclass(value) else f" -> {_type(returns)}"
    short = f"{name}({', '.join(shown)}){arrow}"
    body = short if len(short) <= 100 else "\n".join([f"{name}(", *(f"    {one}," for one in shown), f"){arrow}"])
    return ["```python", body, "```", ""]


def _type(annotation: Any) -> str:
    """A type as it is written in the source, without the modules of its names, on every version of Python alike."""
    if isinstance(annotation, str):
        return annotation
    if annotation is NoneType:
        return "None"
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_type, get_args(annotation)))
    return _MODULES.sub("", inspect.formatannotation(annotation))


def tables() -> str:
    """The page of tables, study by study; what several write stands with the first."""
    written: set[str] = set()
    parts = [_TABLES, "\n## Every study\n", *map(_table, (CLAIMS, FAILURES))]
    for verb in verbs():
        parts.append(f"\n## chiasm {verb}\n")
        for schema in study(verb).tables:
            parts.append(f"\n`{schema.name}`: as above.\n" if schema.name in written else _table(schema))
            written.add(schema.name)
    return "".join(parts)


def _table(schema: TableSchema) -> str:
    lines = [f"\n### `{schema.name}`\n", "| column | type | unit | what it is |", "|---|---|---|---|"]
    for column in schema.columns:
        kind = column.kind + (", may be missing" if column.nullable else "")
        meaning = column.description or column.title
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


_MODELS = """# Every multimodal type of transformers

Made by `make docs` from what `make types` found: the {count} types that transformers {version} maps for models that
see, watch or listen and answer in words (`chiasm models --all`; with `--json` one object for each).

{counts}

## How it was found out

Of each type a small model of its real class was made by rules, with random weights and its real processor, whose
tokenizer alone is a local one. *Certified* are the types of listed families ([supported models](support.md)). Every
other model is tried when it is loaded, on images, clips and sounds of noise, and nothing is read from its name:

- its processor is called in several ways, and the first is taken whose inputs the model's forward takes;
- the tokens that stand for an input are those at which the decoder is given something else when the input is another;
- where one input gives other logits each time, an option of the forward that switches the noise off is looked for, and
  given with every input from then on (`sample=False` of VibeVoice); without one the model is refused;
- how inputs of two examples are put together is read off the processor's own batch of two;
- where the tokens of an image look is asked of {rules} rules (the processor's grid, a square, the image's own shape;
  tiles before or after a view of all; over the image stretched, cropped or padded) by painting: boxes, and the own
  place of single tokens, which must change most at just that token. A rule must hold on pictures of odd sizes up to
  1 to 20; where none does, places are unknown, and no object can be cut;
- a factor and a soft cap between head and logits are fitted to both;
- then the laws of `chiasm check` are tried. What a broken law belongs to is refused with the reason when it is asked
  for, and the rest is offered: padded batches give way to one prompt at a time, several images to one, and one walk
  for all cuts to one masked forward for each. One law closes an input to every other token in all layers: its content
  may then make no difference, or something beside the attention mask carries it and no cut of it means anything (so
  it is with MiniMax-M3, whose indexer reads what is cut, and with Inkling, whose attention keeps more than keys and
  values);
- what a law is broken by little, and may be rounding, is tried again in float64.

The column "how" says what an answer rests on: the *suite* in float64 (certified types, on the versions of
transformers that [supported models](support.md) names), a *trial* of the small model as above, or, for types that are
refused before any weight is read, the *configuration* or the class of the *processor* alone.

What is *accepted* in the table was, besides, compared with a masked forward that shares no code with the engine
(column "values": the largest difference in log-probability in float32, and where it is over 1e-4 the same in float64,
which shows that it is rounding; of types whose shared walk is refused, by one masked forward for each cut), and where
it claims places, painted on further pictures with odd sides, of any shape up to 1 to 20 ("pictures": how many of them
claimed places; "found": the share of painted tokens that changed most). `make types` paints 500 for each type; the
{placed} types of this table that claim places had fewer, {least} to {most}, {painted} in all.

*Refused* says why. *Untried* are types of which no small model was made: nothing is known of them, and a checkpoint is
tried like any other. Random weights show that numbers are computed right, not that they mean anything.

## Types that no one named

Tried at the end on transformers 5.24.0, which maps them newly, with nothing written for them. `omniasr` (sounds) and
`hy_v4_vl` were accepted at once, but with cuts by one masked forward each: 5.24 calls the cache of a layer `cache`,
which no walk knew. With that name known `omniasr` can do everything but several sounds in one prompt (values: 1e-05 in
float32). `hy_v4_vl` (images and videos; the processor's grid over the stretched image, found in 20 of 20 pictures;
values: 4e-06) keeps to one masked forward for each cut: its layers carry four streams of states at once. `apertus1p5`
is untried: no small model is made of it by rule (the codes of images and sounds must fit behind its vocabulary); with
these ranges named its trial was not finished in 15 minutes of computing.

## What to do with a model that is refused

Every refusal says what was asked and what was found; the table of refused types below says what to do for each. In
general:

- Read the reason: a processor or template that lacks something can be completed (`processor.chat_template = ...`),
  and a model in memory is taken by `chiasm.load(model=..., processor=...)`.
- Where `one walk` is refused and `cuts` are not, `--executor reference` runs one masked forward for each cut.
- A model is tried with its own processor, and what was found is kept (`CHIASM_CACHE`): after a change of the processor
  it is tried again. `chiasm check MODEL` prints every law with what was measured.
- Where a single capability is refused, leave out what needs it; [supported
  models](support.md#what-can-be-done-with-each) says which command needs which.
- An encoder-decoder has no one sequence that a cut could divide, and of a decoder that attends to the image beside
  its tokens the rules know nothing (`mllama` has a family file, and its cuts close those layers): take a checkpoint
  of a similar type that is certified or accepted.
- Otherwise a family file states the exceptions of an architecture ([contributing](contributing.md)).

## Type by type

In alphabetical order. `audioflamingo3`, a certified family, is not among them: transformers maps no such type.

A command is offered (`yes`) or not (`no`: a law is broken, or has nothing to show on the small model; `-`: not for
what the model is built of); a number says why. "places" is the rule for where the tokens of its images look.

"""


_WALKING = "walking through"
_ADVICE = {
    "an encoder-decoder": "Take a model of one stack of layers: a cut needs image and words in one sequence.",
    "beside them": "Take a model whose images are tokens of its prompt, or `mllama`, whose file knows such layers.",
    "at no token of it": "Take a model whose images are tokens of its prompt.",
    "perceives nothing": "Take the type that wraps it with a vision or audio part.",
    "has no part for": "Take a model of images, videos or sounds: what this one perceives, chiasm has no inputs for.",
    "a prompt of its own": "Ask the model that it was tuned from, whose processor takes a question (Gemma 3).",
    "no text": "Take a model whose processor takes a question beside a sound (`qwen2_audio`, ...).",
    "needs `": "It answers with something else than words; there is no log-probability to read.",
    "takes none of": "Take a model that is given the sound at once (`qwen2_audio`, ...).",
    "rows of its own": "Take a model that writes token after token: here no token of the prompt is a row to cut.",
    "what is padding": "Take another type: a cut goes through the mask that says who attends to whom.",
    "": "Read the reason; a family file can state what the rules do not know ([contributing](contributing.md)).",
}
"""What to do, by words of the reason; the last is for every other."""


def models(types: Sequence[MappedType]) -> str:
    """Every mapped type with its status, what can be done with it, and the reasons."""
    reasons: dict[str, int] = {}

    def noted(why: str) -> str:
        return f"[{reasons.setdefault(_plain(why), len(reasons) + 1)}]"

    def cell(found: str) -> str:
        mark, _, why = found.partition(": ")
        return mark if not why else f"{mark} {noted(why)}"

    names = ["type", "status", "how", "takes", *VERBS, "places", "values", "pictures", "found"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one in types:
        status = f"{one.status} {noted(one.reason)}" if one.reason else one.status
        verbs = verbs_of(one.capabilities) if one.capabilities else dict.fromkeys(VERBS, "")
        values = "" if one.values is None else f"{one.values:.1e}"
        values += "" if one.exact is None else f" (float64: {one.exact:.0e})"
        painted = ["", ""] if one.found is None else [str(one.pictures), f"{one.found:.3f}"]
        own = [f"`{one.type}`", status, one.how, ", ".join(one.takes), *map(cell, verbs.values())]
        places = one.places if set(one.takes) - {"audio"} else ""
        lines.append(f"| {' | '.join([*own, places, values, *painted])} |")
    accepted = [one for one in types if one.status == "accepted"]
    partly = [one for one in accepted if any(why.startswith("no") for why in one.capabilities.values())]
    further = ["", "## What accepted types cannot do", "", "| type | capability | why |", "|---|---|---|"]
    for one in partly:
        no: dict[str, list[str]] = {}
        for name, why in one.capabilities.items():
            if why.startswith("no"):
                no.setdefault(_cause(why.partition(": ")[2]), []).append(name)
        further += [f"| `{one.type}` | {', '.join(named)} | {_plain(why)} |" for why, named in no.items()]
    refused = ["", "## Refused types", "", "| type | found out by | why | what to do |", "|---|---|---|---|"]
    refused += [
        f"| `{one.type}` | {one.how} | {_plain(one.reason)} | {_advice(one.reason)} |"
        for one in types
        if one.status == "refused"
    ]
    unused = [said for said in _ADVICE if said and not any(said in one.reason for one in types)]
    assert not unused, f"advice on what no type is refused for: {unused}"
    counted = Counter(one.status for one in types)
    counts = ["| status | types |", "|---|---|", *(f"| {status} | {counted[status]} |" for status in STATUSES)]
    pictures = [one.pictures for one in types if one.found is not None]
    text = _MODELS.format(
        count=len(types),
        version=mapped_version(),
        counts="\n".join(counts),
        rules=len(RULES),
        placed=len(pictures),
        least=min(pictures),
        most=max(pictures),
        painted=sum(pictures),
    )
    notes = [f"{number}. {why}" for why, number in reasons.items()]
    return text + "\n".join([*lines, "", *notes, *refused, *(further if partly else ()), ""])


def _cause(why: str) -> str:
    """A reason without the law that showed it, where the error itself says all."""
    return why[why.index(_WALKING) :] if _WALKING in why else why


def _advice(reason: str) -> str:
    """What a user does about a refusal, by what it says."""
    return next((todo for said, todo in _ADVICE.items() if said in reason), _ADVICE[""])


def _plain(why: str) -> str:
    """A reason that quotes code, as Markdown shows it: on one line, without marks of its own."""
    return re.sub(r"([<>|*_`\[\]])", r"\\\1", " ".join(why.split()))


def support(families: Sequence[Supported]) -> str:
    """Family x capability x version of transformers, a reason below for everything that is not a yes."""
    reasons: dict[str, int] = {}

    def cell(found: str) -> str:
        mark, _, why = found.partition(": ")
        return mark if not why else f"{mark} [{reasons.setdefault(why, len(reasons) + 1)}]"

    names = ["family", "takes", "transformers", *CAPABILITIES]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    rows = [one.row() for one in families]
    for row in rows:
        for version, can in row["transformers"].items():
            cells = [f"`{row['family']}`", ", ".join(row["takes"]), version, *map(cell, can.values())]
            lines.append(f"| {' | '.join(cells)} |")
    listed = ["| family | kind | `model_type` | certified |", "|---|---|---|---|"]
    for row in rows:
        types = ", ".join(f"`{kind}`" for kind in row["model_types"])
        listed.append(f"| `{row['family']}` | {row['kind']} | {types} | {row['reason'] or 'yes'} |")
    verbs = [f"| {' | '.join(['command', *VERBS])} |", "|---" * (len(VERBS) + 1) + "|"]
    verbs += [f"| needs | {' | '.join(', '.join(names) for names in VERBS.values())} |"]
    for one, row in zip(families, rows, strict=True):
        cells = [cell(_worst(row["transformers"], names)) for names in VERBS.values()]
        verbs.append(f"| `{one.family.name}` | {' | '.join(cells)} |")
    rests = [f"- **{name}**: {'; '.join(laws)}" for name, laws in CAPABILITIES.items()]
    return "\n".join(
        [
            _SUPPORT,
            *listed,
            "\n## What can be done with each\n",
            "Every command needs what the second row names; a number says below why something is not offered.\n",
            *verbs,
            "\n## What was tried, on which version\n",
            *lines,
            "",
            *(f"{number}. {_plain(why)}" for why, number in reasons.items()),
            "\n## What each column rests on\n",
            *rests,
            "",
        ]
    )


def _worst(runs: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> str:
    """`yes` where all of `names` are, on every version; else the first reason against it, a `no` before others."""
    found = [can[name] for can in runs.values() for name in names]
    against = sorted((one for one in found if one != HOLDS), key=lambda one: not one.startswith("no"))
    return against[0] if against else HOLDS if found else "no: never tried"


def published(found: Ledger) -> str:
    """The ledger: counts, then paper by paper its entries, and what the embedded model shows of them."""
    tiny = Counter(entry.tiny.shows if entry.tiny else "not measured" for entry in found.entries)
    lines = [_PUBLISHED, "| status | entries |", "|---|---|"]
    lines += [f"| {status} | {n} |" for status, n in found.counts().items()]
    lines += ["", "| on `tiny` | entries |", "|---|---|", *(f"| {shows} | {n} |" for shows, n in sorted(tiny.items()))]
    for paper in found.papers:
        own = [entry for entry in found.entries if entry.paper == paper.arxiv]
        address = f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})"
        lines += ["", f"## {paper.title}", "", f"{paper.authors}. {paper.venue}. {address}", ""]
        names = ("entry", "published", "values", "model", "data", "read in", "runs", "status", "`tiny`")
        lines += [f"| {' | '.join(names)} |", "|---" * len(names) + "|", *(_entry(entry) for entry in own)]
        shown = [f"- `{entry.id}`: {_on_tiny(entry)}" for entry in own if entry.tiny]
        lines += ["", "What `tiny` shows:", "", *shown] if shown else []
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> str:
    claim = entry.claim if entry.note is None else f"{entry.claim} {entry.note}"
    runs = ", ".join(f"`{verb}`" for verb in entry.studies)
    cells = [f"`{entry.id}`", claim, entry.published, entry.model, entry.data, entry.read_in, runs, entry.standing]
    return f"| {' | '.join([*cells, entry.tiny.shows if entry.tiny else ''])} |"


def _on_tiny(entry: Entry) -> str:
    assert entry.tiny is not None
    measured, note = entry.tiny.measured, f" {entry.tiny.note}" if entry.tiny.note else ""
    return f"{entry.tiny.shows}.{note} {measured} (`{measured.command}`, {measured.date})."


def pages() -> dict[str, str]:
    """Every generated page by its path under docs/."""
    return {
        "reference/commands.md": commands(),
        "reference/python.md": python(),
        "reference/tables.md": tables(),
        "support.md": support(supported()),
        "models.md": models(mapped_types()),
        "published.md": published(ledger()),
    }


def main(arguments: list[str]) -> int:
    """Writes the pages, or with `--check` says which are not current and ends with 1."""
    checking, stale = arguments == ["--check"], []
    (DOCS / "reference").mkdir(exist_ok=True)
    for name, text in pages().items():
        page = DOCS / name
        if not checking:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(name)
    if stale:
        print(f"not current: {', '.join(stale)}; run `make docs`")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
