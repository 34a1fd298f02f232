"""Where a run takes the states from that ablations put in place of an example's own."""

from collections.abc import Sequence
from typing import final

from chiasm.core.example import Example
from chiasm.interventions import StateAblation
from chiasm.models.executors.jobs import Executor
from chiasm.models.view import ModelView
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.state_ablations import StateSources
from chiasm.studies.flow.state_means import mean_states
from chiasm.studies.flow.swaps import Donors
from chiasm.studies.inputs import model_of


def resamples(spec: FlowSpec) -> bool:
    """Whether any states are replaced by those of another example."""
    return any(isinstance(one, StateAblation) and one.method == "resample" for one in spec.interventions())


@final
class ReplacedStates:
    """The mean states of a run, read once, and other examples' states, read where they are needed.

    The means of a model with random weights are over the examples that are given to it. `passes`: clean passes of each
    example that the means take.
    """

    def __init__(
        self,
        spec: FlowSpec,
        view: ModelView,
        examples: Sequence[Example],
        baselines: Sequence[ModelView],
        executor: Executor,
        donors: Donors,
    ) -> None:
        ablations = [one for one in spec.interventions() if isinstance(one, StateAblation)]
        spans = [one.span for one in ablations if one.method == "mean"]
        self.any, self.passes = bool(ablations), (1 + bool(baselines)) if spans else 0
        self._spec, self._donors, self._models = spec, donors, len(baselines)
        self._means, self._of_baselines = None, []
        if spans:
            self._means = mean_states(view, examples, spans, executor, instruction=spec.instruction)
            for number, other in enumerate(baselines):
                own = [one for one in examples if self._sample(one) == number]
                self._of_baselines.append(mean_states(other, own, spans, executor, instruction=spec.instruction))

    def sources(self, view: ModelView, example: Example, *, random: bool) -> StateSources | None:
        """For one example, encoded by `view`; `random`: of the model with random weights that it is given to. None
        where no states are replaced.
        """
        if not self.any:
            return None
        means = self._of_baselines[self._sample(example)] if random and self._of_baselines else self._means
        return StateSources(means, view, example, self._donors, self._spec.instruction)

    def _sample(self, example: Example) -> int:
        return model_of(example.id, self._spec.seed, self._models)
