"""A model of an architecture that is not listed: what of it can be used is tried once, and kept."""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import transformers
from torch import nn

from chiasm.core.cache import cache_directory
from chiasm.models.adopting.decoder import followed, measured_head
from chiasm.models.adopting.geometry import placed
from chiasm.models.adopting.inputs import Candidate, called, joined, perceived
from chiasm.models.adopting.refusals import UnansweredError, answering, require_answerable, require_questions
from chiasm.models.adopting.rounded import unrounded
from chiasm.models.conformance import Law, check
from chiasm.models.conformance.suite import CAPABILITIES, WALK
from chiasm.models.families import unsupported_error
from chiasm.models.families.certificates import HOLDS, fingerprint
from chiasm.models.generic.places import UNKNOWN
from chiasm.models.generic.rules import GenericRules
from chiasm.models.precision import Precision
from chiasm.models.support import VERBS, capabilities_of
from chiasm.models.view import ModelView

_log: Final = logging.getLogger(__name__)
_PADDED: Final = "padded batches"
_SHARED: Final = "shared questions"
_SEVERAL: Final = "several inputs"
_REVERSED: Final = "reversed cuts"
FURTHER: Final = "more kinds of input"
_TURNED: Final = ("position_embeddings",)
"""What an indexer wants of every key."""


def adopt(model: nn.Module, processor: Any, name: str, precision: Precision | None = None) -> ModelView:
    """A view of a model that is not listed, by the rules that it was found to answer.

    The trial runs once for every configuration, processor, dtype and version; what it found is kept in the cache
    directory (`CHIASM_CACHE`, or ~/.cache/chiasm). What cannot be done with the model is refused by capability, with
    the reason, when it is asked for (`view.family.refused`). What was decided is logged.

    **Errors:** `ChiasmError` with the reason where nothing can be done with it, and the nearest supported family.
    """
    config = model.config
    require_answerable(config)
    require_questions(type(processor), config)
    if not processor.chat_template:
        raise unsupported_error(config, "and its processor has no chat template")
    candidate = Candidate(model, processor, name, precision)
    file = _cache_file(candidate)
    if file.is_file():
        _log.warning("`%s` is not a listed family; it was tried before.", config.model_type)
        return candidate.view(GenericRules.from_json(json.loads(file.read_text())))
    _log.warning("`%s` is not a listed family: trying which rules answer it, once.", config.model_type)
    try:
        rules = tried(candidate).rules
    except UnansweredError as error:
        raise unsupported_error(config, f"which the generic rules do not answer ({error})") from error
    _log.warning(
        "`%s` is taken. Places of its image tokens: %s.%s%s",
        config.model_type,
        rules.places,
        "".join(
            f" Its forward is called with {name}={on}: it draws random numbers." for name, on in rules.switches.items()
        ),
        "".join(f" Not {name}: {why}." for name, why in rules.refused.items()),
    )
    _write_cache(file, rules)
    return candidate.view(rules)


class Found(NamedTuple):
    """The rules that a model answers, what it cannot do among them, and the laws that it was tried on, by name."""

    rules: GenericRules
    laws: Mapping[str, Law]

    def capabilities(self) -> dict[str, str]:
        """`yes`, `no: why` or `-: why it is not asked`, by capability."""
        verdicts = capabilities_of(self.laws.values())
        if self.rules.places == UNKNOWN and verdicts["boxes"] == HOLDS:
            # Tokens that are known to have no place break no law, and yet no object of an image is found by them.
            verdicts["boxes"] = "-: where its tokens look is not known, so no object of an image can be cut"
        for name, why in self.rules.refused.items():
            # What was left out before the suite ran is no yes.
            verdicts[name] = f"no: {why}"
        if len(self.rules.modalities) == 1 and any(name.startswith(f"{FURTHER}: ") for name in self.rules.refused):
            verdicts[FURTHER] = f"-: what it has a part for besides {self.rules.modalities[0]} is refused"
        return verdicts


def tried(candidate: Candidate) -> Found:
    """What a model is found to answer.

    **Errors:** `UnansweredError` where no command can be given it.
    """
    rules = found_inputs(candidate)
    with answering("its decoder"):
        rules = followed(candidate, rules)
    # A head that is called otherwise than on states is one that the lens's laws refuse.
    try:
        with answering("its head"):
            rules = measured_head(candidate, rules)
    except UnansweredError as error:
        _log.debug("The head of `%s` was not measured: %s", candidate.name, error)
    with answering("inputs of several examples"):
        rules = joined(candidate, rules)
    try:
        with answering("painting its images"):
            rules = placed(candidate, rules)
    except UnansweredError as error:
        rules = replace(rules, places=UNKNOWN, refused={**rules.refused, "boxes": str(error)})
    return _judged(candidate, rules)


def found_inputs(candidate: Candidate) -> GenericRules:
    """The kinds of input that the processor has a part for and the model takes; for each other, the reason."""
    rules, against = GenericRules(), dict[str, UnansweredError]()
    kinds = perceived(candidate.processor)
    if not kinds:
        raise UnansweredError("its processor has no part for images, videos or sounds")
    for kind in kinds:
        try:
            rules = called(candidate, rules, kind)
        except UnansweredError as error:
            against[kind] = error
    if not rules.modalities:
        # What was seen of the model, where that is known, and not what its code raised beside it.
        seen = [error for error in against.values() if not error.foreign][:1]
        raise UnansweredError("; ".join(str(error) for error in seen or against.values()), foreign=not seen)
    reasons = {f"{FURTHER}: {kind}": str(error) for kind, error in against.items()}
    return replace(rules, refused={**rules.refused, **reasons})


def with_right_kinds(candidate: Candidate, rules: GenericRules) -> Found:
    """`rules` without the kinds of input besides the first that are computed wrong, and the laws of such kinds."""
    suite = _Suite(candidate)
    if rules.batches and suite.broken(rules, _PADDED):
        rules = replace(rules, positions_from_mask=not rules.positions_from_mask)
    if suite.broken(rules, FURTHER):
        rules = _without_wrong_kinds(suite, rules)
    return Found(rules, suite.of(rules, FURTHER))


def _judged(candidate: Candidate, rules: GenericRules) -> Found:
    """`rules` after the suite: what is broken is refused, after a second way has been tried where there is one."""
    suite = _Suite(candidate)
    laws = suite.all(rules)
    settled = _settled(suite, rules)
    if settled != rules:
        # Whatever was changed for one law is tried on all of them.
        rules, laws = settled, suite.all(settled)
    # Where no cut can be run, none can be undone either.
    if _broken(laws, "left as it was") and not _broken(laws, "cuts"):
        raise UnansweredError(_broken(laws, "left as it was"))
    refused = {**rules.refused, **{name: _broken(laws, name) for name in CAPABILITIES if _broken(laws, name)}}
    offered = [verb for verb, needed in VERBS.items() if not any(name in refused for name in needed)]
    if not offered:
        raise UnansweredError("; ".join(dict.fromkeys(refused.values())))
    verdicts = capabilities_of(laws.values())
    inapplicable = {
        name: verdicts[name].removeprefix("-: ")
        for needed in VERBS.values()
        for name in needed
        if verdicts[name].startswith("-: ")
    }
    return Found(replace(rules, refused=refused, inapplicable=inapplicable), laws)


class _Suite:
    """The laws on a model by rules that are still open: all of them, or those of one capability."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._whole: list[tuple[GenericRules, Mapping[str, Law]]] = []

    def all(self, rules: GenericRules) -> Mapping[str, Law]:
        """Every law, with nothing refused beforehand."""
        self._whole.append((rules, self._check(rules, None)))
        return self._whole[-1][1]

    def broken(self, rules: GenericRules, capability: str) -> str:
        """Why a capability is broken by `rules`; empty where it is not."""
        known = next((laws for tried, laws in self._whole if tried == rules), None)
        return _broken(self.of(rules, capability) if known is None else known, capability)

    def of(self, rules: GenericRules, capability: str) -> Mapping[str, Law]:
        """The laws of one capability, and whether there is a walk, which decides how they are tried."""
        return self._check(rules, (*CAPABILITIES[WALK], *CAPABILITIES[capability]))

    def _check(self, rules: GenericRules, names: Collection[str] | None) -> Mapping[str, Law]:
        with answering("its parts"):
            view = self._candidate.view(replace(rules, refused={}, inapplicable={}))
        return {law.name: law for law in unrounded(view, check(view, names=names))}


def _settled(suite: _Suite, rules: GenericRules) -> GenericRules:
    """`rules` with a second way for each capability that is broken, or without what it stands for."""
    if suite.broken(rules, WALK):
        other = replace(rules, key_arguments=_TURNED)
        rules = rules if suite.broken(other, WALK) else other
    why = suite.broken(rules, _PADDED)
    if why:
        other = replace(rules, positions_from_mask=not rules.positions_from_mask)
        alone = replace(rules, batches=False, refused={**rules.refused, _PADDED: why})
        rules = alone if suite.broken(other, _PADDED) else other
    why = suite.broken(rules, _SHARED)
    if why:
        rules = replace(rules, shares=False, refused={**rules.refused, _SHARED: why})
    if rules.causal and suite.broken(rules, _REVERSED):
        other = replace(rules, causal=False)
        rules = rules if suite.broken(other, _REVERSED) else other
    why = suite.broken(rules, _SEVERAL) if rules.modalities[0] == "image" else ""
    if why:
        rules = replace(rules, max_images=1, refused={**rules.refused, _SEVERAL: why})
    if suite.broken(rules, FURTHER):
        # One kind of input that is computed wrong takes no part; the others stay.
        rules = _without_wrong_kinds(suite, rules)
    return replace(rules, places=UNKNOWN) if suite.broken(rules, "boxes") else rules


def _without_wrong_kinds(suite: _Suite, rules: GenericRules) -> GenericRules:
    """`rules` without the kinds that are computed wrong beside the first; one that batches alone spoil is in none."""
    first, *further = rules.modalities
    kept, alone, refused = [first], list[str](), dict(rules.refused)
    for kind in further:
        own = replace(rules, modalities=(first, kind))
        why = suite.broken(own, FURTHER)
        if why and rules.batches and not suite.broken(replace(own, alone=(kind,)), FURTHER):
            alone.append(kind)
            refused[f"{_PADDED}: {kind}"] = why
        elif why:
            refused[f"{FURTHER}: {kind}"] = why
            continue
        kept.append(kind)
    return replace(rules, modalities=tuple(kept), alone=tuple(alone), refused=refused)


def _broken(laws: Mapping[str, Law], capability: str) -> str:
    """The first law of a capability that is broken, with the reason; empty where none is."""
    found = [laws[name] for name in CAPABILITIES[capability] if name in laws and laws[name].ok is False]
    return f"{found[0].name}: {found[0].reason}" if found else ""


def _cache_file(candidate: Candidate) -> Path:
    config, processor = candidate.model.config, candidate.processor
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True, default=str).encode())
    # The same model with a processor that crops otherwise has other places.
    digest.update(json.dumps(processor.to_dict(), sort_keys=True, default=str).encode())
    digest.update(f"{processor.chat_template} {sorted(processor.tokenizer.get_added_vocab().items())}".encode())
    compute = (candidate.precision or Precision.of(candidate.model)).compute
    own = candidate.view(GenericRules()).family
    digest.update(f"{compute} {transformers.__version__} {torch.__version__} {fingerprint(own)} {_own()}".encode())
    return cache_directory() / "adopted" / f"{config.model_type}-{digest.hexdigest()[:16]}.json"


def _own() -> str:
    """Of the files that try a model, and of those that hold the rules."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "generic"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _write_cache(file: Path, rules: GenericRules) -> None:
    """Written whole or not at all; a cache that cannot be written costs another trial, and no result."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(rules.as_json()) + "\n")
        fresh.replace(file)
    except OSError as error:
        _log.warning("What was found cannot be kept in %s (%s).", file.parent, error)
