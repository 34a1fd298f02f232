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
from chiasm.measures.base import bound
from chiasm.measures.geometry import cka, effective_rank, neighbour_overlap, over_groups
from chiasm.measures.probes.kinds import Probe, probe_of
from chiasm.measures.probes.states import CLS, POST, PRE, permuted_projector, read_projected, read_states
from chiasm.measures.probes.training import FeatureSet, Fitted, Labels, ProbeRun, information, train_probes
from chiasm.models.view import ModelView
from chiasm.studies.project.richness_tables import BEFORE, CKA, NEIGHBOURS, RANDOM_PROJECTOR, RANK, SHUFFLED
from chiasm.studies.project.rows import Prepared
from chiasm.studies.project.scores import scores
from chiasm.studies.project.spec import ProjectSpec
from chiasm.training.features import frozen_tower
from chiasm.training.settings import TuningSetting

Frames = dict[str, list[dict[str, Any]]]
_PARTS = ("train", "validation", "test")
_POOLED = (CLS, PRE, POST)
_MOST = 512  # pictures whose likeness is compared: the cost grows with their square
_NEIGHBOURS, _LEAST = 10, 8


class _Asked(NamedTuple):
    """A probe to train: where, its cloud, and what of it is a control."""

    where: str
    cloud: FeatureSet
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

    def before(self, view: ModelView, prepared: Prepared, about: dict[str, Any]) -> None:
        """Read the untouched model's states of the test pictures, unless they are known: tuning is compared to them."""
        self._open(about)
        if about["seed"] not in self._before:
            with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as folder:
                found = self._states(view, prepared, about["seed"], "test", Path(folder), pixels=False)
                self._before[about["seed"]] = _compared(_names(prepared), found)

    def frames(self, view: ModelView, prepared: Prepared, setting: TuningSetting, about: dict[str, Any]) -> Frames:
        """All rows of one setting. `view` is the model as it was tuned; `about`: domain, setting, seed, projector."""
        self._open(about)
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as folder:
            return self._frames(view, prepared, setting, about, Path(folder))

    def _frames(
        self, view: ModelView, prepared: Prepared, setting: TuningSetting, about: dict[str, Any], folder: Path
    ) -> Frames:
        seed, pixels = about["seed"], "tower" in setting.parts
        parts = {part: self._states(view, prepared, seed, part, folder / part, pixels=pixels) for part in _PARTS}
        clouds = {where: FeatureSet(*(parts[part][where] for part in _PARTS)) for where in parts["train"]}
        asked = self._probes(view, clouds)
        if not setting.tunes and self.spec.controls:
            asked += self._random(view, prepared, seed)
        found = self._train(asked, prepared, seed, view.device)
        frames = self._told(asked, found, prepared, about)
        shown = _compared(_names(prepared), parts["test"])
        if not setting.tunes:
            self._before[seed] = shown
        before = self._before[seed] if setting.tunes else None
        return frames | {"representations": likeness(_kept(_names(prepared)), shown, before, about)}

    def _open(self, about: dict[str, Any]) -> None:
        """What was kept for another domain or projector is of no use here."""
        if self._domain != (about["domain"], about["projector"]):
            self._domain, self._before, self._trained = (about["domain"], about["projector"]), {}, {}

    def _states(
        self, view: ModelView, prepared: Prepared, seed: int, part: str, folder: Path, *, pixels: bool
    ) -> dict[str, np.ndarray]:
        reused = prepared.reused and not pixels
        rows = prepared.testing(seed, part=part, pixels=pixels, output=self.spec.output)
        if not len(rows):
            return _Empty()
        with frozen_tower(view) if reused else nullcontext():
            found = read_states(view, rows, self.spec.unit, folder, together=prepared.reused)
        return found | {CLS: prepared.features(part).pooled.numpy()} if reused else found

    def _probes(self, view: ModelView, clouds: dict[str, FeatureSet]) -> list[_Asked]:
        asked = []
        for name in self.spec.probes:
            probe = probe_of(name, view.width)
            asked += [_Asked(where, cloud, probe, None) for where, cloud in clouds.items()]
            if self.spec.controls:
                # Of the dear ones only where the paper puts them.
                chosen = [where for where in clouds if not probe.hidden or where in _POOLED]
                asked += [_Asked(where, clouds[where], probe, SHUFFLED) for where in chosen]
        return asked

    def _random(self, view: ModelView, prepared: Prepared, seed: int) -> list[_Asked]:
        """Probes behind a projector that has forgotten what it learned."""
        assert view.projector is not None
        if not any(p.numel() for p in view.projector.parameters()):
            return []
        parts = []
        with permuted_projector(view, seed), frozen_tower(view) if prepared.reused else nullcontext():
            for part in _PARTS:
                rows = prepared.testing(seed, part=part, output=self.spec.output)
                parts.append(read_projected(view, rows, self.spec.unit) if len(rows) else _NOTHING)
        return [
            _Asked(POST, FeatureSet(*parts), probe_of(name, view.width), RANDOM_PROJECTOR) for name in self.spec.probes
        ]

    def _train(self, asked: list[_Asked], prepared: Prepared, seed: int, device: torch.device) -> list[Fitted]:
        domain = prepared.domain
        number = {name: k for k, name in enumerate(domain.classes)}
        labels = Labels(
            *(torch.tensor([number[i.label] for i in getattr(domain, part)], dtype=torch.long) for part in _PARTS),
            classes=len(domain.classes),
        )
        prints = {id(one.cloud): _print(one.cloud) for one in asked}
        keys = [(prints[id(one.cloud)], seed, one.probe.name, one.control == SHUFFLED) for one in asked]
        for probe in dict.fromkeys(one.probe for one in asked):
            new: dict[tuple[str, int, str, bool], _Asked] = {}
            for key, one in zip(keys, asked, strict=True):
                if one.probe == probe and key not in self._trained:
                    new.setdefault(key, one)
            clouds = {key[0]: one.cloud for key, one in new.items()}
            places = {name: k for k, name in enumerate(clouds)}
            tasks = [ProbeRun(places[key[0]], seed, key[3]) for key in new]
            fitted = train_probes(probe, list(clouds.values()), labels, tasks, device=device)
            self._trained |= dict(zip(new, fitted, strict=True))
        return [self._trained[key] for key in keys]

    def _told(self, asked: list[_Asked], found: list[Fitted], prepared: Prepared, about: dict[str, Any]) -> Frames:
        domain = prepared.domain
        truth = [item.label for item in domain.test]
        number = {name: k for k, name in enumerate(domain.classes)}
        test = np.array([number[label] for label in truth])
        train = np.array([number[item.label] for item in domain.train])
        frames: Frames = {"richness": [], "richness_controls": [], "probed": []}
        for one, fitted in zip(asked, found, strict=True):
            said = [domain.classes[k] for k in fitted.logprobs.argmax(axis=1)]
            gained = information(fitted.logprobs, test, train)
            place = about | {"where": one.where, "probe": one.probe.name}
            row = place | scores(truth, said) | _bounded("information", gained)
            row |= {"epochs": fitted.epochs, "train_n": len(train)}
            if one.control is None:
                frames["richness"].append(row)
            else:
                frames["richness_controls"].append(row | {"control": one.control})
            if one.where in _POOLED or not one.probe.hidden:
                frames["probed"] += [
                    place | {"control": one.control, "example_id": item.id, "label": item.label, "answer": answer}
                    for item, answer in zip(domain.test, said, strict=True)
                ]
        return {name: rows for name, rows in frames.items() if rows}


def likeness(
    names: list[str], now: dict[str, np.ndarray], before: dict[str, np.ndarray] | None, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of `representations`: ranks, the projector's output against its input, every place against before tuning.

    `names`: of the pictures, in the order of the clouds' rows.
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
        if len(names) >= _LEAST:
            add(where, against, CKA, over_groups(names, [x, y], cka, 4), 0.0)

    for where, cloud in now.items():
        add(where, "", RANK, over_groups(names, [cloud], effective_rank, 2), None)
    if PRE in now:
        compare(POST, PRE, now[PRE], now[POST])
    for where, cloud in now.items() if before is not None else ():
        known = None if before is None else before.get(where)
        if known is not None and known.shape[1] == cloud.shape[1]:
            compare(where, BEFORE, known, cloud)
    return rows


def _names(prepared: Prepared) -> list[str]:
    return [item.id for item in prepared.domain.test]


def _kept(names: list[str]) -> list[str]:
    """The pictures whose likeness is compared: at random, and the same ones in every setting."""
    return sorted(names, key=lambda name: priority(name, 0))[:_MOST]


def _compared(names: list[str], states: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The states of those pictures, in memory."""
    place = {name: k for k, name in enumerate(names)}
    chosen = [place[name] for name in _kept(names)]
    return {where: np.asarray(values[chosen], dtype=np.float64) for where, values in states.items()}


def _bounded(name: str, value: Estimate) -> dict[str, float | None]:
    return {name: float(value.mean), f"{name}_low": bound(float(value.low)), f"{name}_high": bound(float(value.high))}


def _print(cloud: FeatureSet) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in cloud:
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


_NOTHING = np.empty((0, 0), dtype=np.float32)


class _Empty(dict[str, np.ndarray]):
    """The states of a part without pictures, wherever they are asked for."""

    def __missing__(self, where: str) -> np.ndarray:
        return _NOTHING
