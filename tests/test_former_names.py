"""Names of the version before still work, each with a notice."""

import pytest
from tests.support import factories

import chiasm


@pytest.fixture(scope="module")
def view():
    return chiasm.load(model=factories.build("llava")[0], processor=factories.build("llava")[1])


def test_python_names_of_the_version_before(view):
    chosen = [factories.example(seed=seed) for seed in range(2)]
    with pytest.warns(FutureWarning, match="`query=` is `queries=` now"):
        run = chiasm.look(view, chosen, query="question", controls=False)
    assert run.reporter.spec.queries == ("question",)
    with pytest.warns(FutureWarning, match="`twin=` is `baseline=` now"):
        run = chiasm.look(view, chosen, twin=chiasm.load(model=view.model, processor=view.processor))
    assert "shares_controls" in run.tables
    with pytest.warns(FutureWarning, match="messages go to the logger"):
        chiasm.look(view, chosen, controls=False, say=print)
    with pytest.raises(TypeError, match="unexpected keyword argument 'quarry'"):
        chiasm.look(view, chosen, quarry="question")
    with pytest.raises(chiasm.ChiasmError, match="both name one option"):
        chiasm.look(view, chosen, query="question", queries=["last"])
    with pytest.raises(TypeError, match=r"flow\(\) got an unexpected keyword argument 'cut'; `--cut` is `cuts=` here"):
        chiasm.flow(view, chosen, cut="image->last")


@pytest.mark.parametrize("wrong", [{"window": "three"}, {"window": 2.5}, {"limit": "4"}, {"seed": None}, {"cuts": [3]}])
def test_values_of_another_type_are_refused_before_anything_is_loaded(wrong):
    with pytest.raises(chiasm.ChiasmError, match=r"it is (a|no) "):
        chiasm.flow("nowhere", **wrong)
