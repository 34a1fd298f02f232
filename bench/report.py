"""Measurements as rows of text, for the terminal and for Markdown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.measure import Seconds, Summary
from bench.worker import Measurement, Request
from chiasm.studies.options import byte_count


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of text, and notes under it."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print to the terminal."""
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(note, style="dim")

    def markdown(self) -> str:
        """The same as a Markdown section."""
        lines = [f"## {self.title}", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]) + "\n"


def write_results(out: Path, name: str, body: dict[str, Any], text: str) -> None:
    """`name.json` with every number and `name.md` with the tables, below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(body, indent=1) + "\n")
    (out / f"{name}.md").write_text(text)


def machine_lines(facts: dict[str, str | int]) -> str:
    """What the numbers were measured on, as a Markdown list."""
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


class Peer(NamedTuple):
    """One engine's times. `difference`: largest difference in log-probability from plain hooks, over vocabulary and
    cuts; None for the plain hooks themselves.
    """

    name: str
    versions: dict[str, str]
    attention: str
    clean: list[Seconds]
    cut: list[Seconds]
    difference: float | None


def clock_of(request: Request) -> str:
    """CPU time where one thread computes (others on the machine disturb it least), else elapsed time."""
    return "cpu" if request.device == "cpu" and request.threads == 1 else "wall"


def passes(found: Measurement, clock: str) -> Summary:
    """A sweep in clean passes: each against the clean passes before and after it."""
    clean, sweep = [getattr(s, clock) for s in found.clean], [getattr(s, clock) for s in found.sweep]
    spread = Summary.of([2 * s / (a + b) for s, a, b in zip(sweep, clean[:-1], clean[1:], strict=True)])
    if found.request.executor == "lockstep":
        return spread
    # Every pass of the reference costs the same: its whole sweep is one clean pass and one pass per variant.
    return spread.scaled((found.variants + 1) / found.passes)


def sweeps(found: Sequence[Measurement]) -> list[Sheet]:
    """Times with their bound and memory, and what share of the machine was used; a row per configuration."""
    times, shares = [], []
    for one in found:
        clock = clock_of(one.request)
        cost, clean = passes(one, clock), Summary.of([getattr(s, clock) for s in one.clean]).median
        measured = one.request.executor == "lockstep"
        times.append(
            (
                one.request.name,
                str(one.variants),
                _summary(cost),
                f"{one.rows_bound:.2f}" if measured else "",
                f"{cost.median / one.rows_bound:.2f}" if measured else "",
                f"{passes(one, 'wall').median:.2f}",
                f"{cost.median * clean:.1f}",
                f"{_above(one) / 1e6:.0f}",
            )
        )
        if measured:
            rate = one.flops_sweep / (cost.median * clean)
            gap = cost.median / one.flops_bound
            share = f"{100 * rate / one.matmul_rate:.0f} %"
            shares.append((one.request.name, f"{one.flops_bound:.2f}", f"{gap:.2f}", f"{rate / 1e9:.0f}", share))
    titles = ("configuration", "variants", "clean passes", "bound", "x bound", "by wall clock", "seconds", "peak MB")
    work = ("configuration", "FLOP bound", "x FLOP bound", "useful GFLOP/s", "of matrix-product rate")
    return [Sheet("Sweeps", titles, times, _notes(found)), Sheet("Work", work, shares)]


def per_question(found: Sequence[Measurement]) -> Sheet:
    """The price of a question when several are asked about one image."""
    rows = []
    for one in sorted(found, key=lambda m: m.request.questions):
        clock, n = clock_of(one.request), one.request.questions
        cost = passes(one, clock).scaled(1 / n)
        rows.append(
            (
                str(n),
                _summary(cost),
                f"{one.rows_bound / n:.2f}",
                f"{_above(one) / 1e6:.0f}",
            )
        )
    columns = ("questions", "clean passes per question", "bound per question", "peak MB")
    return Sheet("Several questions on one image (three cuts)", columns, rows)


def side_by_side(found: Sequence[Peer], lockstep: Measurement | None, clock: str) -> Sheet:
    """Engines beside each other; the unit is the clean pass of the plain hooks."""
    unit = Summary.of([getattr(s, clock) for s in found[0].clean]).median
    rows = []
    for peer in found:
        clean, cut = (Summary.of([getattr(s, clock) for s in times]) for times in (peer.clean, peer.cut))
        whole = "" if lockstep is None else f"{(clean.median + lockstep.variants * cut.median) / unit:.0f}"
        version = next((v for k, v in peer.versions.items() if k not in ("torch", "transformers")), "")
        rows.append(
            (
                f"{peer.name} {version}".strip(),
                peer.attention,
                _summary(clean),
                _summary(cut),
                f"{cut.median / unit:.2f}",
                whole,
                "" if peer.difference is None else f"{peer.difference:.1g}",
            )
        )
    if lockstep is not None:
        cost = passes(lockstep, clock_of(lockstep.request))
        rows.append(("chiasm, lockstep", "sdpa", "", "", "", f"{cost.median:.2f}", _scientific(lockstep.difference)))
    columns = ("engine", "attention", "clean, s", "one cut, s", "one cut, passes", "three cuts, passes", "difference")
    notes = [
        f"Seconds are {'CPU time' if clock == 'cpu' else 'elapsed'}. Passes: clean passes of the plain hooks. The "
        "three cuts in all windows are extrapolated for the peers (a clean pass, and one cut per variant) and measured "
        "for chiasm. Difference: the largest in log-probability from plain hooks (chiasm: the guard's)."
    ]
    return Sheet("Side by side", columns, rows, notes)


def _notes(found: Sequence[Measurement]) -> list[str]:
    notes = []
    for one in found:
        if one.request.executor == "reference":
            timed, every = len(one.sweep) * (one.passes - 1), one.variants
            notes.append(f"{one.request.name}: {timed} of {every} variants were run; the whole sweep is extrapolated.")
        if one.difference is not None and one.guard is not None:
            notes.append(
                f"{one.request.name}: the guard's plain masked forwards (once per model and layout, not in the "
                f"times) took {one.guard:.1f} s of elapsed time and differed by at most {one.difference:.1g} in "
                f"log-probability; the cuts themselves change it by up to {one.effect:.2g}."
            )
    if found:
        first = found[0]
        clean = Summary.of([getattr(s, clock_of(first.request)) for m in found for s in m.clean])
        notes.insert(
            0,
            f"A clean pass (vision tower included, head at the last position) took {clean.median:.2f} s "
            f"({clean.low:.2f}-{clean.high:.2f}, n={clean.n}) and {first.flops_clean / 1e9:.0f} GFLOP; plain matrix "
            f"products reach {first.matmul_rate / 1e9:.0f} GFLOP/s here. Peak MB: above the peak of the clean pass.",
        )
        budgets = {m.request.name: _above(m) <= byte_count(m.request.memory) for m in found if m.request.memory}
        if budgets:
            broken = ", ".join(name for name, kept in budgets.items() if not kept)
            notes.append(f"Memory budgets: {f'NOT kept in {broken}' if broken else 'all kept'}.")
    return notes


def _above(one: Measurement) -> int:
    """Bytes of the sweep's peak above the clean pass's."""
    return max(0, one.sweep_peak - one.clean_peak)


def _summary(value: Summary) -> str:
    return f"{str(value)[:-1]}, n={value.n})"


def _scientific(value: float | None) -> str:
    return "" if value is None else f"{value:.1g}"
