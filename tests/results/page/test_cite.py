"""What to cite: the papers of the study and chiasm, and nothing that is not known."""

from importlib.metadata import version

from chiasm.results.ledger import ledger
from chiasm.results.page.cite import bibtex, named, papers_of


def test_the_paper_of_the_method_and_chiasm_with_its_version():
    text = bibtex(papers_of("flow", ledger()))
    assert "@inproceedings{zhang2025cross," in text
    assert "author = {Zhi Zhang and Srishti Yadav and Fengze Han and Ekaterina Shutova}," in text
    assert "eprint = {2411.18620}," in text
    assert f"version = {{{version('chiasm')}}}," in text
    assert text.count("{") == text.count("}")


def test_skipping_is_of_two_papers_and_each_has_a_key_of_its_own():
    papers = papers_of("skip", ledger())
    keys = [line for line in bibtex(papers).splitlines() if line.startswith("@")]
    assert len(papers) >= 1
    assert len(set(keys)) == len(keys) == len(papers) + 1


def test_methods_of_others_are_cited_with_title_and_authors():
    text = bibtex([], {"Wanda", "V-Skip"})
    assert "@misc{sun2024wanda," in text
    assert "author = {Mingjie Sun and Zhuang Liu and Anna Bair and J. Zico Kolter}," in text
    assert "title = {{A Simple and Effective Pruning Approach for Large Language Models}}," in text
    assert "@misc{ma2026vskip," in text
    assert "author = {Jie Ma and Zhike Qiu and Jiayi Ji and others}," in text
    assert "ShortV" not in text


def test_every_method_is_named_with_what_is_made_by_it():
    lines = named(papers_of("skip", ledger()), {"FastV": ["fast-v-50", "fast-v-75"], "V-Skip": ["v-skip-deep"]})
    assert lines[0].startswith("Shukor, Cord: Implicit Multimodal Alignment")
    assert "FastV (`fast-v-50`, `fast-v-75`): Chen and others, 2024. arXiv 2403.06764." in lines
    assert "V-Skip (`v-skip-deep`): Ma and others, 2026. arXiv 2606.08511." in lines
    assert not any("ShortV" in line for line in lines)
    assert lines[-1].startswith(f"chiasm {version('chiasm')}")


def test_a_study_without_a_paper_cites_chiasm_alone():
    assert bibtex(papers_of("counting", ledger())).startswith("@software{chiasm,")


def test_interventions_are_cited_by_who_made_them():
    lines = named([], {"activation patching": ["denoise"], "attention knockout": ["image->last"]})
    assert "attention knockout (`image->last`): Geva and others, 2023. arXiv 2304.14767." in lines
    assert "activation patching (`denoise`): Meng and others, 2022. arXiv 2202.05262." in lines
