import pytest

from chiasm.core.errors import ChiasmError
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.options import byte_count
from chiasm.studies.paper.spec import PaperSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500MB", 500_000_000), ("1GiB", 2**30), (" 20 kb", 20_000), ("7", 7), (9, 9), ("1.5GB", 1_500_000_000)],
)
def test_byte_count(text, expected):
    assert byte_count(text) == expected


@pytest.mark.parametrize("text", ["much", "5 parrots", "-3MB", ""])
def test_byte_count_refuses(text):
    with pytest.raises(ChiasmError, match="Write for example 500MB"):
        byte_count(text)


def test_a_spec_passes_on_what_another_study_knows(tmp_path):
    spec = PaperSpec(models=("a", "b"), limit=5, seed=3, spans=("image", "question"), out=tmp_path, fresh=True)
    align = spec.derive(AlignSpec, model="a", controls=False)
    assert (align.model, align.limit, align.seed, align.spans) == ("a", 5, 3, ("image", "question"))
    assert (align.out, align.resume, align.fresh, align.controls) == (None, True, False, False)
    assert spec.derive(EvalSpec, model="b", limit=7).limit == 7
