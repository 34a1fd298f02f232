"""What can be read from a model's states about a domain's classes: representations of one setting, and probes on them.

Read after tuning, before the model is put back, so that a setting is one shard of a run. Probes on the same numbers
from the same seed are trained once: what is frozen is shared by the settings.
"""

import hashlib
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch

from chiasm.core.statistics.intervals import Estimate, mean_interval
from chiasm.core.statistics.jackknife import priority
from chiasm.measures.base import RowsByTable, bound
from chiasm.measures.geometry import cka, effective_rank, over_groups
from chiasm.measures.neighbours import neighbour_overlap
from chiasm.measures.probes.kinds import CLS, POST, PRE, Probe, probe_of
from chiasm.measures.probes.states import permuted_projector, read_projected, read_states
from chiasm.measures.probes.training import FeatureSet, Fitted, Labels, ProbeRun, information, train_probes
from chiasm.models.view import ModelView
from chiasm.results.series import bounded
from chiasm.studies.project.prepared import PreparedDomain
from chiasm.studies.project.scores import scores
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import BEFORE, CKA, NEIGHBOURS, RANDOM_PROJECTOR, RANK, SHUFFLED
from chiasm.training.features import frozen_tower
from chiasm.training.settings import TuningSetting

_PARTS = ("train", "validation", "test")
_POOLED = (CLS, PRE, POST)
_MAX_IMAGES = 512  # compared with each other: the cost grows with their square
_NEIGHBOURS, _MIN_IMAGES = 10, 8


class _ProbeTask(NamedTuple):
    """A probe to train: on which features, read where, and which control it is (None: the probe proper)."""

    where: str
    features: FeatureSet
    probe: Probe
    control: str | None


@final
class Richness:
    """The rows of `richness` and its companions, setting by setting."""

    def __init__(self, spec: ProjectSpec, scratch: Path) -> None:
        self.spec, self.scratch = spec, scratch
        self._domain: tuple[str, str] | None = None
        self._before: dict[int, dict[str, np.ndarray]] = {}
        self._trained: dict[tuple[str, int, str, bool], Fitted] = {}

    def read_untuned(self, view: ModelView, prepared: PreparedDomain, about: dict[str, Any]) -> None:
        """Read the untouched model's states of the test images, unless they are known: tuning is compared to them."""
        self._open(about)
        if about["seed"] not in self._before:
            with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as folder:
                found = self._states(view, prepared, about["seed"], "test", Path(folder), pixels=False)
                self._before[about["seed"]] = _compared(prepared, found)

    def rows(
        self, view: ModelView, prepared: PreparedDomain, setting: TuningSetting, about: dict[str, Any]
    ) -> RowsByTable:
        """All rows of one setting. `view` is the model as it was tuned; `about`: domain, setting, seed, projector."""
        self._open(about)
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as folder:
            return self._rows(view, prepared, setting, about, Path(folder))

    def _rows(
        self, view: ModelView, prepared: PreparedDomain, setting: TuningSetting, about: dict[str, Any], folder: Path
    ) -> RowsByTable:
        seed, pixels = about["seed"], "tower" in setting.parts
        parts = {part: self._states(view, prepared, seed, part, folder / part, pixels=pixels) for part in _PARTS}
        feature_sets = {where: FeatureSet(*(parts[part][where] for part in _PARTS)) for where in parts["train"]}
        tasks = self._probes(view, feature_sets)
        if not setting.tunes and self.spec.controls:
            tasks += self._random(view, prepared, seed)
        found = self._train(tasks, prepared, seed, view.device)
        frames = self._probe_rows(tasks, found, prepared, about)
        shown = _compared(prepared, parts["test"])
        if not setting.tunes:
            self._before[seed] = shown
        before = self._before[seed] if setting.tunes else None
        return frames | {"representations": representation_rows(_compared_images(prepared), shown, before, about)}

    def _open(self, about: dict[str, Any]) -> None:
        """What was kept for another domain or projector is of no use here."""
        if self._domain != (about["domain"], about["projector"]):
            self._domain, self._before, self._trained = (about["domain"], about["projector"]), {}, {}

    def _states(
        self, view: ModelView, prepared: PreparedDomain, seed: int, part: str, folder: Path, *, pixels: bool
    ) -> dict[str, np.ndarray]:
        reused = prepared.reused and not pixels
        rows = prepared.testing(seed, part=part, pixels=pixels, released_prompt=self.spec.released_prompt)
        if not len(rows):
            return _NoFeatures()
        with frozen_tower(view) if reused else nullcontext():
            found = read_states(view, rows, self.spec.batch, folder, together=prepared.reused)
        return found | {CLS: prepared.features(part).pooled.numpy()} if reused else found

    def _probes(self, view: ModelView, feature_sets: dict[str, FeatureSet]) -> list[_ProbeTask]:
        tasks = []
        for name in self.spec.trained_probes:
            probe = probe_of(name, view.width)
            tasks += [_ProbeTask(where, features, probe, None) for where, features in feature_sets.items()]
            if self.spec.controls:
                # Of the costly ones only where the paper puts them.
                chosen = [where for where in feature_sets if not probe.hidden or where in _POOLED]
                tasks += [_ProbeTask(where, feature_sets[where], probe, SHUFFLED) for where in chosen]
        return tasks

    def _random(self, view: ModelView, prepared: PreparedDomain, seed: int) -> list[_ProbeTask]:
        """Probes behind a projector that has forgotten what it learned."""
        assert view.projector is not None
        if not any(p.numel() for p in view.projector.parameters()):
            return []
        parts = []
        with permuted_projector(view, seed), frozen_tower(view) if prepared.reused else nullcontext():
            for part in _PARTS:
                rows = prepared.testing(seed, part=part, released_prompt=self.spec.released_prompt)
                parts.append(read_projected(view, rows, self.spec.batch) if len(rows) else _NO_FEATURES)
        return [
            _ProbeTask(POST, FeatureSet(*parts), probe_of(name, view.width), RANDOM_PROJECTOR)
            for name in self.spec.trained_probes
        ]

    def _train(
        self, tasks: list[_ProbeTask], prepared: PreparedDomain, seed: int, device: torch.device
    ) -> list[Fitted]:
        domain = prepared.domain
        number = {name: k for k, name in enumerate(domain.classes)}
        labels = Labels(
            *(torch.tensor([number[i.label] for i in getattr(domain, part)], dtype=torch.long) for part in _PARTS),
            classes=len(domain.classes),
        )
        fingerprints = {id(one.features): _fingerprint(one.features) for one in tasks}
        keys = [(fingerprints[id(one.features)], seed, one.probe.name, one.control == SHUFFLED) for one in tasks]
        for probe in dict.fromkeys(one.probe for one in tasks):
            new: dict[tuple[str, int, str, bool], _ProbeTask] = {}
            for key, one in zip(keys, tasks, strict=True):
                if one.probe == probe and key not in self._trained:
                    new.setdefault(key, one)
            feature_sets = {key[0]: one.features for key, one in new.items()}
            places = {name: k for k, name in enumerate(feature_sets)}
            runs = [ProbeRun(places[key[0]], seed, key[3]) for key in new]
            fitted = train_probes(probe, list(feature_sets.values()), labels, runs, device=device)
            self._trained |= dict(zip(new, fitted, strict=True))
        return [self._trained[key] for key in keys]

    def _probe_rows(
        self, tasks: list[_ProbeTask], found: list[Fitted], prepared: PreparedDomain, about: dict[str, Any]
    ) -> RowsByTable:
        domain = prepared.domain
        truth = [item.label for item in domain.test]
        number = {name: k for k, name in enumerate(domain.classes)}
        test = np.array([number[label] for label in truth])
        train = np.array([number[item.label] for item in domain.train])
        frames: RowsByTable = {"richness": [], "richness_controls": [], "probed": []}
        for one, fitted in zip(tasks, found, strict=True):
            answers = [domain.classes[k] for k in fitted.logprobs.argmax(axis=1)]
            gained = information(fitted.logprobs, test, train)
            place = about | {"where": one.where, "probe": one.probe.name}
            row = place | scores(truth, answers) | bounded("information", gained)
            row |= {"epochs": fitted.epochs, "train_n": len(train)}
            if one.control is None:
                frames["richness"].append(row)
            else:
                frames["richness_controls"].append(row | {"control": one.control})
            if one.where in _POOLED or not one.probe.hidden:
                frames["probed"] += [
                    place | {"control": one.control, "example_id": item.id, "label": item.label, "answer": answer}
                    for item, answer in zip(domain.test, answers, strict=True)
                ]
        return {name: rows for name, rows in frames.items() if rows}


def representation_rows(
    names: list[str], now: dict[str, np.ndarray], before: dict[str, np.ndarray] | None, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of `representations`: ranks, the projector's output against its input, every place against before tuning.

    `names`: of the images, in the order of the features' rows.
    """
    rows = []

    def add(where: str, against: str, quantity: str, value: Estimate, null: float | None) -> None:
        row = about | {"where": where, "against": against, "quantity": quantity, "mean": float(value.mean)}
        row |= {"low": bound(float(value.low)), "high": bound(float(value.high)), "null": null, "n": len(names)}
        rows.append(row)

    def compare(where: str, against: str, x: np.ndarray, y: np.ndarray) -> None:
        k = min(_NEIGHBOURS, (len(names) - 1) // 2)
        if k > 0 and x.std(axis=0).any() and y.std(axis=0).any():
            overlap = neighbour_overlap(x, y, k)
            add(where, against, NEIGHBOURS, mean_interval(overlap, resamples=1000), k / (len(names) - 1))
        if len(names) >= _MIN_IMAGES:
            add(where, against, CKA, over_groups(names, [x, y], cka, 4), 0.0)

    for where, features in now.items():
        add(where, "", RANK, over_groups(names, [features], effective_rank, 2), None)
    if PRE in now:
        compare(POST, PRE, now[PRE], now[POST])
    for where, features in now.items():
        known = (before or {}).get(where)
        if known is not None and known.shape[1] == features.shape[1]:
            compare(where, BEFORE, known, features)
    return rows


def _compared_images(prepared: PreparedDomain) -> list[str]:
    """The images that are compared with each other: at random, and the same ones in every setting."""
    names = (item.id for item in prepared.domain.test)
    return sorted(names, key=lambda name: priority(name, 0))[:_MAX_IMAGES]


def _compared(prepared: PreparedDomain, states: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The states of those images, in memory."""
    place = {item.id: k for k, item in enumerate(prepared.domain.test)}
    chosen = [place[name] for name in _compared_images(prepared)]
    return {where: np.asarray(values[chosen], dtype=np.float64) for where, values in states.items()}


def _fingerprint(features: FeatureSet) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in features:
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


_NO_FEATURES = np.empty((0, 0), dtype=np.float32)


class _NoFeatures(dict[str, np.ndarray]):
    """The states of a part without images, wherever they are asked for."""

    def __missing__(self, where: str) -> np.ndarray:
        return _NO_FEATURES
