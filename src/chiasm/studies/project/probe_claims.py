"""What probes read of a model's states, before and after tuning, beside shuffled labels and permuted projectors."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.statistics.crossed import Crossed, Judged, family
from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.results.series import in_order
from chiasm.studies.project.choice import choice, learnt, named, settings_of
from chiasm.studies.project.judging import FREE, LABELS, Gap, class_count, gap_claims, guessed
from chiasm.studies.project.scores import LINE, MLP, UNTUNED, ProbeAnswers, ProbeSite, Runs, paired
from chiasm.studies.project.tables import RANDOM_PROJECTOR, SHUFFLED

_READ = "macro-F1 of the probe above one that learned shuffled labels"
_READ_ALONE = "macro-F1 of the probe above uniform guessing"
_CHANGE = "difference in macro-F1 of the probe"


def main_probes(probes: Sequence[str]) -> list[str]:
    """The probes that sentences go by: the paper's MLP and a line; the first there is where neither was trained."""
    return [name for name in (MLP, LINE) if name in probes] or list(probes[:1])


def probe_claims(probed: pl.DataFrame, own: pl.DataFrame, found: Sequence[Claim], least: float) -> list[Claim]:
    """What is read of the projector's output and in the decoder, what tuning did to it, and what answers leave out.

    `probed`, `own`: the probes' and the model's answers, of the model's own projector; `found`: the claims about the
    latter. A setting that learnt nothing, by its answers, changes nothing here that could be a conclusion on richness.
    """
    domains = [_Domain(name, ProbeAnswers.of(probed, name), own, found) for name in in_order(probed, "domain")]
    above = {
        "read": [gap for one in domains for gap in one.reads()],
        "state": [gap for one in domains for gap in one.states(least)],
        "held-shuffled": [gap for one in domains for gap in one.held_above(least)],
    }
    # What a probe reads at one site is one number, whichever kinds name it: so it has one interval, in one family.
    sites = {(gap.about, gap.where): gap.score for gaps in above.values() for gap in gaps}
    of = family(list(sites.values()))
    reads, states, shuffled = (gap_claims(gaps, least, of) for gaps in above.values())
    learned = gap_claims([gap for one in domains for gap in one.learned()], least)
    beside = [*reads, *learned]
    less = gap_claims([gap for one in domains for gap in one.beyond_shuffled()], least)
    made = beside + gap_claims([gap for one in domains for gap in one.richer([*beside, *less])], least) + less
    made += gap_claims([gap for one in domains for gap in one.projector(learned)], least) + states + shuffled
    for kind, control, answer in (("held", FREE, "parsed"), ("held-labels", LABELS, "constrained")):
        made += gap_claims([gap for one in domains for gap in one.held(kind, control, answer, least, shuffled)], least)
    return made


def trained_on(richness: pl.DataFrame) -> list[Claim]:
    """How many images of each domain probes were trained on."""
    counts = richness.group_by("domain", maintain_order=True).agg(pl.col("train_n").max(), pl.col("n").max())
    return [
        Claim(
            kind="trained",
            about=row["domain"],
            quantity="images that each probe is trained on",
            unit="images",
            effect=float(row["train_n"]),
            low=float(row["train_n"]),
            high=float(row["train_n"]),
            n=row["n"],
            verdict="established",
        )
        for row in counts.iter_rows(named=True)
    ]


class _Domain(NamedTuple):
    name: str
    of: ProbeAnswers
    own: pl.DataFrame
    found: Sequence[Claim]

    def reads(self) -> list[Gap]:
        """At the projector's output in every setting, and at what the untouched model sees before it."""
        sites = [ProbeSite(setting, POST, probe) for setting in self.settings for probe in main_probes(self.of.probes)]
        sites += [ProbeSite(UNTUNED, where) for where in (CLS, PRE)]
        return [gap for site in sites if (gap := self._read("read", site)) is not None]

    def learned(self) -> list[Gap]:
        """The untouched projector against one whose weights are in random order."""
        gaps = []
        for probe in main_probes(self.of.probes):
            one, other = (self.of.runs(ProbeSite(UNTUNED, POST, probe, name)) for name in (None, RANDOM_PROJECTOR))
            if one is not None and other is not None:
                level = other.macro_f1.mean
                about = f"{self.name}, {UNTUNED}, {probe}"
                gaps.append(Gap("learned", about, _CHANGE, paired(one, other), RANDOM_PROJECTOR, level, POST))
        return gaps

    def richer(self, beside: Sequence[Claim]) -> list[Gap]:
        """Every setting's output against the untouched one's.

        The change less that of probes which learned shuffled labels must be established in its direction; the richer of
        the two outputs must be read above shuffled labels, the untouched one above a permuted projector; and the
        setting must have learnt.
        """
        gaps = []
        for setting in self.settings:
            for probe in main_probes(self.of.probes) if setting != UNTUNED else ():
                change, control = self._change(setting, probe, None), self._change(setting, probe, SHUFFLED)
                if change is None:
                    continue
                less = named(beside, "richness-control", self.name, setting, probe)
                rests = self._rests(beside, setting, probe, change.mean > 0)
                gaps.append(
                    Gap(
                        "richness",
                        f"{self.name}, {setting}, {probe}",
                        f"{_CHANGE}, after tuning less before",
                        change,
                        None if control is None or rests is None else SHUFFLED,
                        None if control is None or rests is None else control.mean,
                        POST,
                        _beyond(change, less, allowed=bool(rests) and learnt(self.found, self.name, setting)),
                    )
                )
        return gaps

    def beyond_shuffled(self) -> list[Gap]:
        """How much more what is read changes under a setting than what probes of shuffled labels read."""
        gaps = []
        for setting in self.settings:
            for probe in main_probes(self.of.probes) if setting != UNTUNED else ():
                change, control = self._change(setting, probe, None), self._change(setting, probe, SHUFFLED)
                if change is not None and control is not None:
                    about, quantity = f"{self.name}, {setting}, {probe}", f"{_CHANGE}, less that under shuffled labels"
                    gaps.append(
                        Gap("richness-control", about, quantity, change - control, SHUFFLED, control.mean, POST)
                    )
        return gaps

    def _change(self, setting: str, probe: str, control: str | None) -> Crossed | None:
        """What a probe (or one that is a control) reads of the output after tuning less before."""
        after, before = (self.of.runs(ProbeSite(name, POST, probe, control)) for name in (setting, UNTUNED))
        return None if after is None or before is None else paired(after, before)

    def _rests(self, beside: Sequence[Claim], setting: str, probe: str, richer: bool) -> bool | None:
        """Whether the controls say that there is something to be richer or poorer in; None without such controls."""
        read = named(beside, "read", self.name, setting if richer else UNTUNED, probe)
        learned = named(beside, "learned", self.name, UNTUNED, probe)
        if read is None or learned is None or read.control != SHUFFLED:
            return None
        return all(one.established and one.effect > 0 for one in (read, learned))

    def projector(self, learned: Sequence[Claim]) -> list[Gap]:
        """What a linear probe reads behind the untouched projector less before it, beyond what a permuted one does.

        The difference between the two changes is that between the learned and the permuted projector: `learned`.
        """
        sites = {where: self.of.runs(ProbeSite(UNTUNED, where)) for where in (PRE, POST)}
        before, after = sites[PRE], sites[POST]
        permuted = self.of.runs(ProbeSite(UNTUNED, POST, LINE, RANDOM_PROJECTOR))
        if before is None or after is None:
            return []
        change = paired(after, before)
        control = None if permuted is None else paired(permuted, before)
        about, quantity = f"{self.name}, {UNTUNED}, {LINE}", f"{_CHANGE}, behind the projector less before it"
        name, level = (None, None) if control is None else (RANDOM_PROJECTOR, control.mean)
        less = named(learned, "learned", self.name, UNTUNED, LINE)
        return [Gap("projector", about, quantity, change, name, level, f"{POST} against {PRE}", _beyond(change, less))]

    def states(self, least: float) -> list[Gap]:
        """In every hidden state, image tokens and last token, of the untouched model and of the best setting."""
        best = choice(self.found, self.name, least)
        gaps = []
        for setting in (UNTUNED, *(() if best is None else dict.fromkeys((best.best, best.chosen)))):
            for state in self.of.states:
                for span in ("image", "last"):
                    gap = self._read("state", ProbeSite(setting, f"layer.{state}.{span}"))
                    gaps += [] if gap is None else [gap]
        return gaps

    def held_above(self, least: float) -> list[Gap]:
        """What is read at the sites of `held` above shuffled labels: answers that name no class are above nothing."""
        gaps = (self._read("held-shuffled", site) for site in self._held_sites(least))
        return [gap for gap in gaps if gap is not None and gap.control == SHUFFLED]

    def held(self, kind: str, control: str, answer: str, least: float, above: Sequence[Claim]) -> list[Gap]:
        """What a linear probe reads of the tower's states, and of the last token, above what the model answers (the
        column `answer`: freely, or the most probable label).

        Any of the sites may be picked: the intervals hold for all. It must be read `above` shuffled labels, too, which
        is judged over all sites as well: answers may all be wrong, and then are a control that cannot fail.
        """
        gaps = []
        for site in self._held_sites(least):
            answers = Runs.of(self.own.filter(domain=self.name, setting=site.setting), answer)
            probe = self.of.runs(site)
            if probe is None or answers is None:
                continue
            about = f"{self.name}, {site.setting}, {LINE}"
            beside = next((one for one in above if one.about == about and one.where == site.where), None)
            more, quantity = paired(probe, answers), f"macro-F1 of the probe less that of {control}"
            level, name = (None, None) if beside is None else (answers.macro_f1.mean, control)
            gaps.append(Gap(kind, about, quantity, more, name, level, site.where, _read_at_all(beside)))
        return gaps

    def _held_sites(self, least: float) -> list[ProbeSite]:
        states, best = self.of.states, choice(self.found, self.name, least)
        last = [f"layer.{states[-1]}.last"] if states else []
        settings = (UNTUNED,) if best is None else dict.fromkeys((best.best, best.chosen))
        return [ProbeSite(setting, where) for setting in settings for where in (CLS, PRE, *last)]

    @property
    def settings(self) -> list[str]:
        return settings_of(self.found, self.name)

    def _read(self, kind: str, site: ProbeSite) -> Gap | None:
        runs = self.of.runs(site)
        if runs is None:
            return None
        about = f"{self.name}, {site.setting}, {site.probe}"
        shuffled = self.of.runs(ProbeSite(site.setting, site.where, site.probe, SHUFFLED))
        if shuffled is not None:
            level = shuffled.macro_f1.mean
            return Gap(kind, about, _READ, paired(runs, shuffled), SHUFFLED, level, site.where)
        chance = guessed(runs, class_count(self.of.rows, "answer"))
        score = runs.macro_f1
        above = Crossed(score.values - chance, score.parts, score.clusters)
        return Gap(kind, about, _READ_ALONE, above, None, None, site.where)


def _read_at_all(beside: Claim | None) -> Callable[[Judged], bool | None]:
    """Whether a probe is established to read more than one of shuffled labels, or no such probe says."""

    def beyond(at: Judged) -> bool | None:
        return None if beside is None else at.mean < 0 or (beside.established and beside.effect > 0)

    return beyond


def _beyond(change: Crossed, less: Claim | None, *, allowed: bool = True) -> Callable[[Judged], bool | None]:
    """Whether a change goes beyond its control's in its own direction. `less`: the claim about their difference."""

    def beyond(_: Judged) -> bool | None:
        return None if less is None else allowed and less.established and less.effect * change.mean > 0

    return beyond
