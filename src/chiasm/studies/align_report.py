"""What an alignment run tells: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.align_findings import align_findings
from chiasm.results.figures import align as figures
from chiasm.results.findings import Finding
from chiasm.studies.align_spec import AlignSpec
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class AlignReporter(Reporter):
    """The reporter of `chiasm align`."""

    @property
    def title(self) -> str:
        return f"Alignment in {self.spec['model']}"

    def findings(self) -> list[Finding]:
        return align_findings(self._tables)

    def drawings(self) -> dict[str, Drawing]:
        there, drawn = self._tables, {}
        for name, table, draw, told in (
            ("norms", "norms", figures.norm_curves, "Median Euclidean norm over the tokens of each span."),
            ("drift", "drift", figures.drift_curves, "Cosine of each token with itself some layers later."),
            ("score", "score", figures.score_bars, "Alignment scores, mean over hidden states."),
        ):
            controls = there.get(f"{table}_controls")
            caption = f"{told} {self._counted(table)} {_CONTROLLED if controls is not None else _BARE}"
            drawn[name] = Drawing(partial(draw, there[table], controls), partial(str, caption))
        if "drift_released" in there:
            rows = there["drift_released"]
            caption = f"{_RELEASED} {self._counted('drift_released')}"
            drawn["drift-as-released"] = Drawing(partial(figures.released_gap, rows), partial(str, caption))
        return drawn

    def notes(self) -> list[str]:
        found = [
            "A cosine says how alike directions are, not whether the model uses what is alike: none of this is causal.",
            "The score has no exact equation in the paper as far as it is known to us; both readings are given.",
            "Cosines of mean tokens can be decided by a few large dimensions or tokens.",
        ]
        if not self.spec["controls"]:
            found.append("No control was run: what random tokens or random weights would show is not known.")
        elif "twin" not in set(self._tables["score_controls"]["control"]):
            found.append("No model with random weights stands beside this one; --twin names one of the same shape.")
        return found

    def command(self) -> str:
        defaults = resolved(AlignSpec(model="", data="scenes"))
        if str(self.spec["model"]).startswith("tiny"):
            defaults |= {"twin": "tiny-random"}
        return command_line("align", self.spec, defaults)

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        return {name: self.directory.table(name) for name in self.directory.tables()}

    def _counted(self, table: str) -> str:
        ns = self._tables[table]["n"]
        return f"n = {ns.min()}." if ns.min() == ns.max() else f"n = {ns.min()} to {ns.max()}."


_CONTROLLED = (
    "Dashed or square: the controls, random tokens in place of the image and, where there is one, random weights."
)
_BARE = "No control was run."
_RELEASED = (
    "Change between neighbouring states as the released code averages it, over all pairs of examples (dashed), and of "
    "each example with itself (full)."
)
