"""What "where inside?" tells: figures and sentences from its tables, for runs of `chiasm project` and for notebooks."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import final

import polars as pl
from matplotlib.figure import Figure

from chiasm.core.errors import ChiasmError
from chiasm.results.findings import Finding
from chiasm.results.images import Picture
from chiasm.results.series import in_order
from chiasm.studies.inside import charts as figures
from chiasm.studies.inside.findings import inside_findings
from chiasm.studies.inside.tables import INSIDE
from chiasm.studies.reporting import Drawing

NAMES = tuple(schema.name for schema in INSIDE)
_MAPS = 4


@final
class Inside:
    """Tables of attribution, neurons and concepts, and what they tell.

    `pictures`: what maps are drawn over, by example (in runs of several domains, by `domain/example`). `failures`:
    examples that could not be used, and why.
    """

    def __init__(
        self,
        tables: Mapping[str, pl.DataFrame],
        pictures: Mapping[str, Picture],
        failures: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.failures = list(failures)
        self._tables = {name: tables[name] for name in NAMES if name in tables and tables[name].height}
        self._pictures = dict(pictures)

    @property
    def tables(self) -> list[str]:
        """The names of its tables."""
        return list(self._tables)

    def table(self, name: str) -> pl.DataFrame:
        """A table as a Polars frame.

        **Errors:** `ChiasmError` naming the tables there are.
        """
        if name not in self._tables:
            raise ChiasmError(f"table `{name}`", f"there are {', '.join(self._tables)}", "Name one of those")
        return self._tables[name]

    @property
    def findings(self) -> list[str]:
        """What was found in words, with controls, intervals and n, strongest first."""
        return [finding.text for finding in self.told()]

    @property
    def figures(self) -> list[str]:
        """The names of the figures that can be drawn."""
        return list(self.drawings())

    def figure(self, name: str) -> Figure:
        """A figure, drawn from the tables; a notebook shows it.

        **Errors:** `ChiasmError` naming the figures there are.
        """
        there = self.drawings()
        if name not in there:
            raise ChiasmError(f"the figure `{name}`", f"there are {', '.join(there)}", "Name one of those")
        return there[name].draw()

    def told(self) -> list[Finding]:
        """The findings with their strength."""
        return inside_findings(self._tables)

    def drawings(self) -> dict[str, Drawing]:
        """All figures with their captions."""
        return self._attribution() | self._neurons() | self._concepts() | self._maps()

    def _attribution(self) -> dict[str, Drawing]:
        drawn: dict[str, Drawing] = {}
        if "attributions" in self._tables:
            rows = self._tables["attributions"]
            for domain in in_order(rows, "domain"):
                own = rows.filter(domain=domain)
                if own["object"].is_not_null().any():
                    drawn[f"pointing-{domain}"] = Drawing(
                        partial(figures.pointing_bars, own),
                        lambda: (
                            "Share of the positive attribution on the boxes of what is asked about. Controls: the "
                            "maps of other examples in the same boxes, and the share of tokens that the boxes cover."
                        ),
                    )
                drawn[f"faithfulness-{domain}"] = Drawing(
                    partial(figures.faithfulness, self._tables["attribution_curves"], domain),
                    lambda: (
                        "Probability of the answer while the image's tokens are replaced by the baseline (deletion), "
                        "or put back in (insertion), most important first. Dashed: random orders."
                    ),
                )
        if "modalities" in self._tables:
            for domain in in_order(self._tables["modalities"], "domain"):
                drawn[f"modalities-{domain}"] = Drawing(
                    partial(figures.modality_bars, self._tables["modalities"], domain),
                    lambda: (
                        "How much of the answer rests on the image, against the question: exact Shapley values of the "
                        "two, and MM-SHAP by Kernel SHAP. Crosses: what Kernel SHAP finds where there is no picture."
                    ),
                )
        return drawn

    def _neurons(self) -> dict[str, Drawing]:
        if "neuron_ablation" not in self._tables:
            return {}
        rows = self._tables["neuron_ablation"]
        return {
            f"neurons-{domain}": Drawing(
                partial(figures.ablation_bars, rows, domain),
                lambda: (
                    "What setting neurons to zero does to the answer, on examples that did not choose them, beside as "
                    "many random neurons of the same layers."
                ),
            )
            for domain in in_order(rows, "domain")
        }

    def _concepts(self) -> dict[str, Drawing]:
        if "concepts" not in self._tables:
            return {}
        rows = self._tables["concepts"]
        pairs = rows.select("domain", "setting").unique(maintain_order=True).rows()
        return {
            f"concepts-{domain}-{setting}": Drawing(
                partial(figures.concept_lines, rows, domain, setting),
                lambda: (
                    "Share of answers that grow when the image's tokens move along a concept's direction. Grey: "
                    "random concepts of as many pictures. Filled: further out than those, corrected."
                ),
            )
            for domain, setting in pairs
        }

    def _maps(self) -> dict[str, Drawing]:
        drawn: dict[str, Drawing] = {}
        if "attribution_maps" not in self._tables:
            return drawn
        rows = self._tables["attribution_maps"]
        for domain in in_order(rows, "domain"):
            own = rows.filter(domain=domain)
            for setting in in_order(own, "setting"):
                part = own.filter(setting=setting)
                for number, example in enumerate(in_order(part, "example_id")[:_MAPS]):
                    picture = self._pictures.get(f"{domain}/{example}", self._pictures.get(example))
                    if picture is not None:
                        placed = picture.placed(part.filter(example_id=example))
                        drawn[f"map-{domain}-{setting}-{number}"] = Drawing(
                            partial(figures.attribution_map, picture.pixels, placed, picture.boxes),
                            partial(_map_caption, example, domain, setting, self._answer(domain, setting, example)),
                        )
        return drawn

    def _answer(self, domain: str, setting: str, example: str) -> str:
        rows = self._tables["attributions"].filter(domain=domain, setting=setting, example_id=example)
        return rows["answer"][0]


def _map_caption(example: str, domain: str, setting: str, answer: str) -> str:
    return (
        f"Example {example} of {domain} ({setting}), answer \u201c{answer}\u201d: what each patch adds to its "
        "log-probability. Orange speaks for it, purple against. n = 1 example: no interval."
    )
