"""Several questions on one image: told in the table `examples`, and counted as one draw in intervals and tests."""

from dataclasses import replace

import numpy as np
from tests.studies.flow import flow_runs

from chiasm.results.series import curve, with_inputs
from chiasm.studies.run import Run


def test_repeated_questions_on_an_image_do_not_narrow_the_interval():
    view, once = flow_runs.view_of(), flow_runs.examples(4)
    again = [replace(e, id=f"{e.id}-{k}") for e in once for k in range(3)]
    runs = [flow_runs.run(view, chosen, controls=False) for chosen in (once, again)]
    told = runs[1].table("examples")
    assert (told["example_id"].n_unique(), told["input"].n_unique()) == (12, 4)
    single, repeated = (
        curve(with_inputs(r.table("effects"), r.table("examples")).filter(cut="image->last")) for r in runs
    )
    np.testing.assert_allclose(repeated.mean, single.mean, atol=1e-9)
    # Inputs are drawn in another order: the same but for the chance of resampling.
    np.testing.assert_allclose(repeated.high - repeated.low, single.high - single.low, rtol=0.2)
    notes = " ".join(Run(runs[1]).reporter.notes())
    assert "12 questions ask about 4 different inputs" in notes
    assert "different inputs" not in " ".join(Run(runs[0]).reporter.notes())
