"""The page of a run in Chromium, from disk: nothing is requested, nothing is wrong, and everything can be reached.

Needs Playwright (dependency group `browser`), a Chromium at `$CHIASM_CHROMIUM` (`/usr/bin/chromium` by default), and
for what screen readers find axe-core: `npm install --no-save axe-core@4.14.1` in the repository, or `$CHIASM_AXE`.
"""

import os
import re
from pathlib import Path

import pytest
from bench.page import CHROMIUM, made_up

from chiasm.studies.eval import STUDY as EVAL
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.run import open_run

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
AXE = Path(os.environ.get("CHIASM_AXE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no Chromium at {CHROMIUM}"),
    # Playwright's driver closes its pipe when the process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
needs_axe = pytest.mark.skipif(not AXE.exists(), reason=f"there is no axe-core at {AXE}")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "run"
    made_up(path, 60, 6, pictures=20)
    return open_run(path).report()


@pytest.fixture
def opened(chromium, report):
    """Opens the page as asked; afterwards nothing may have gone wrong and nothing been asked for."""
    troubles, contexts = [], []

    def open_page(width=1280, height=800, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()

        def on_message(message):
            if message.type in ("error", "warning"):
                troubles.append(message.text)

        def on_request(asked):
            if asked.url != report.as_uri() and not asked.url.startswith("data:"):
                troubles.append(asked.url)

        tab.on("console", on_message)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", on_request)
        tab.goto(report.as_uri())
        tab.wait_for_selector(".chart.drawn .drawing svg")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def listed(tab):
    return tab.locator("#browser .list button")


def chooser(browser, label):
    """The list of choices under a label; those of another may hold the same word."""
    return browser.locator("label", has_text=re.compile(f"^{label}")).locator("select")


def test_headline_and_main_chart_stand_on_the_first_screen(opened):
    tab = opened()
    assert tab.locator(".headline").bounding_box()["y"] < 200
    chart = tab.locator(".main-chart .drawing svg").bounding_box()
    assert chart["y"] + chart["height"] <= 800


def test_hovering_says_the_numbers(opened):
    tab = opened()
    box = tab.locator(".main-chart .drawing .mark-symbol.role-mark path").last.bounding_box()
    # Near a point is enough.
    tab.mouse.move(box["x"] + box["width"] / 2 + 4, box["y"] + box["height"] / 2 + 3)
    tip = tab.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "Layer" in tip.inner_text()
    assert "→" in tip.inner_text()
    assert "undefined" not in tip.inner_text()


def effects(tab):
    """The numbers in the list, in their order."""
    return [
        float(text.replace("\u2212", "-")) for text in listed(tab).locator(":scope > :last-child").all_inner_texts()
    ]


def test_examples_are_filtered_sorted_and_searched(opened):
    tab = opened()
    browser = tab.locator("#browser")
    assert listed(tab).count() == 60
    chooser(browser, "Type").select_option(label="choose")
    assert listed(tab).count() == 20
    chooser(browser, "Order").select_option(label="lowest first")
    values = effects(tab)
    assert values == sorted(values)
    chooser(browser, "By").select_option(label="image → last")
    assert effects(tab) == sorted(effects(tab))
    assert effects(tab) != values
    browser.get_by_label("Search").fill("no such words")
    assert listed(tab).count() == 0
    assert "No example is like that" in tab.locator("#browser .detail").inner_text()


def test_what_is_shown_is_what_the_list_begins_with(opened):
    """An order or a filter that leaves another example open makes a reader take it for the first."""
    tab = opened()
    browser = tab.locator("#browser")
    for label, choice in (("Order", "highest first"), ("Order", "lowest first"), ("Type", "choose")):
        chooser(browser, label).select_option(label=choice)
        assert listed(tab).first.get_attribute("aria-current") == "true"
        assert listed(tab).first.locator("span").nth(1).inner_text() in browser.locator(".detail").inner_text()


def test_examples_that_contradict_the_finding_can_be_had_first(opened):
    tab = opened()
    browser = tab.locator("#browser")
    chooser(browser, "Order").select_option(label="contradicts the finding")
    values = effects(tab)
    assert values == sorted(values, reverse=True), "the effect is a loss: those that lose least come first"
    less = sum(-value < 0.05 for value in values)
    said = browser.locator("[role=status]").first.inner_text()
    other = sum(value > 0 for value in values)
    assert other, "some of these examples gain"
    assert f"{less} of {len(values)} lose less than 0.05 nat; {other} of these go the other way" in said
    assert "established to be below 0" in said


def test_a_range_of_the_numbers_keeps_the_examples_inside(opened):
    tab = opened()
    browser = tab.locator("#browser")
    chooser(browser, "By").select_option(label="image → question")
    every = effects(tab)
    chooser(browser, "Layer").select_option(label="1")
    there = effects(tab)
    assert there != every
    middle = sorted(there)[30]
    browser.get_by_label("up to").fill(str(middle))
    assert sorted(effects(tab)) == [value for value in sorted(there) if value <= middle]
    assert "of image → question at layer 1" in browser.locator("[role=status]").first.inner_text()
    chooser(browser, "Order").select_option(label="contradicts the finding")
    assert listed(tab).count() == 60, "a range of other numbers"
    chooser(browser, "Order").select_option(label="as in the data")
    browser.get_by_label("up to").fill(str(middle))
    browser.get_by_role("button", name="All of them").click()
    assert listed(tab).count() == 60
    # Dragging over the spread does the same as its fields.
    bars = browser.locator("svg.spread")
    bars.scroll_into_view_if_needed()
    box = bars.bounding_box()
    tab.mouse.move(box["x"] + 2, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20, steps=4)
    tab.mouse.up()
    half = (min(there) + max(there)) / 2
    kept = effects(tab)
    assert 0 < len(kept) < 60
    assert max(kept) <= half + 0.02
    assert sorted(kept) == sorted(there)[: len(kept)]
    tab.mouse.click(box["x"] + 10, box["y"] + 20)
    assert listed(tab).count() == 60


def test_a_mark_of_a_chart_leads_to_its_examples(opened):
    tab = opened()
    box = tab.locator(".main-chart .drawing .mark-symbol.role-mark path").last.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    link = tab.locator(".main-chart .pointed a")
    link.wait_for()
    cut, layer = re.fullmatch(r"Its 60 examples, by (.+) at layer (\d)", link.inner_text()).groups()
    browser = tab.locator("#browser")
    selected = "one => one.selectedOptions[0].textContent"
    assert chooser(browser, "By").evaluate(selected) == cut
    assert chooser(browser, "Layer").evaluate(selected) == layer
    link.click()
    assert browser.bounding_box()["y"] < 800


def test_one_button_asks_which_examples_contradict_the_finding(opened):
    tab = opened()
    browser = tab.locator("#browser")
    browser.get_by_role("button", name="Which examples contradict the finding?").click()
    assert chooser(browser, "Order").input_value() == "against"
    values = effects(tab)
    assert values == sorted(values, reverse=True)
    texts = listed(tab).locator(":scope > :last-child").all_inner_texts()
    assert [text.startswith("+") for text in texts] == [value > 0 for value in values]
    browser.get_by_role("button", name="Back to the order before").click()
    assert chooser(browser, "Order").input_value() == "data"
    assert browser.locator(".curves .sought").count() == 0


def test_what_the_order_goes_by_is_marked_in_the_curves(opened):
    tab = opened()
    browser = tab.locator("#browser")
    widths = "all => all.map(one => one.getAttribute('stroke-width'))"
    assert set(browser.locator(".curves polyline").evaluate_all(widths)) == {"2"}
    browser.get_by_role("button", name="Which examples contradict the finding?").click()
    assert browser.locator(".curves polyline").evaluate_all(widths).count("4") == 1
    ring = browser.locator(".curves circle.sought title").text_content()
    assert ring.endswith(listed(tab).first.locator(":scope > :last-child").inner_text())


def test_examples_of_one_title_are_told_apart_by_their_id(opened):
    tab = opened()
    titles = listed(tab).locator("span:nth-child(2)").all_inner_texts()
    repeated = sum(titles.count(title) > 1 for title in titles)
    assert listed(tab).locator(".id").count() == repeated
    assert repeated, "some of these examples ask the same"


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The page of answers, every third of which is wrong."""
    path = tmp_path_factory.mktemp("answered") / "run"
    rows = [{"example_id": f"e{k}", "type": "ab"[k % 2], "answer": "yes"} for k in range(12)]
    known = [row | {"question": f"Number {k}?", "input": f"i{k}"} for k, row in enumerate(rows)]
    given = [row | {"generated": "yes" if k % 3 else "no", "correct": k % 3 > 0} for k, row in enumerate(rows)]
    with EVAL.open(EvalSpec(model="made-up", data="scenes", out=str(path)), {"asked": 12}) as run:
        run.write_shard(0, {"examples": known, "eval": given})
        run.finish()
    return open_run(path).report()


def test_wrong_answers_come_first_and_types_can_be_kept_together(chromium, answered):
    tab = chromium.new_page()
    tab.goto(answered.as_uri())

    def marks():
        return "".join(listed(tab).locator(":scope > :first-child").all_inner_texts())

    assert marks() == "✗" * 4 + "✓" * 8
    assert "12 examples, 4 of them answered wrongly" in tab.locator("#browser [role=status]").first.inner_text()
    order = chooser(tab.locator("#browser"), "Order")
    order.select_option(label="by type, wrong answers first")
    assert marks() == ("✗" * 2 + "✓" * 4) * 2
    order.select_option(label="as in the data")
    assert marks() == "✗✓✓" * 4
    tab.close()


def test_an_example_shows_its_picture_its_question_and_its_curves(opened):
    tab = opened()
    listed(tab).nth(1).click()
    detail = tab.locator("#browser .detail")
    assert "</script> \"'&" in detail.inner_text(), "a question is text, whatever it holds"
    assert detail.locator(".curves polyline").count() == 6
    assert detail.locator("img").evaluate("image => image.complete && image.naturalWidth") > 0
    assert detail.locator("script").count() == 0


def test_the_keyboard_reaches_everything(opened):
    tab = opened()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    listed(tab).first.focus()
    assert tab.locator("#browser .list button[tabindex='0']").count() == 1, "the list is one stop of the tab key"
    asked = tab.locator("#browser .asked")
    first = tab.locator("#browser dd").last.inner_text()
    tab.keyboard.press("ArrowDown")
    assert asked.inner_text()
    assert tab.locator("#browser dd").last.inner_text() != first
    assert tab.locator('#browser [aria-current="true"]').count() == 1
    tab.keyboard.press("End")
    assert listed(tab).last.evaluate("one => one === document.activeElement && one.ariaCurrent === 'true'")
    tab.keyboard.press("Home")
    assert listed(tab).first.evaluate("one => one === document.activeElement && one.ariaCurrent === 'true'")
    assert tab.locator("#browser dd").last.inner_text() == first
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('.list')") is None
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.className") == "detail"
    tab.keyboard.press("Escape")
    assert listed(tab).first.evaluate("one => one === document.activeElement")
    summary = tab.locator("#findings summary")
    summary.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#findings ol").is_visible()


def test_in_the_dark_text_and_charts_are_light(opened):
    tab = opened(scheme="dark")
    light = "element => getComputedStyle(element)[{0}].match(/\\d+/g).slice(0, 3).every(v => Number(v) > 150)"
    assert tab.locator(".headline").evaluate(light.replace("{0}", "'color'"))
    assert tab.locator(".main-chart .drawing .role-axis-label text").first.evaluate(light.replace("{0}", "'fill'"))
    still = tab.locator(".chart:not(.drawn) > .static").first
    assert "invert" in still.evaluate("one => getComputedStyle(one).filter"), "no white box in the dark"
    tab.emulate_media(color_scheme="light")
    label = "document.querySelector('.main-chart .drawing .role-axis-label text')"
    tab.wait_for_function(f"() => getComputedStyle({label}).fill === 'rgb(26, 26, 26)'")


def scrolled(tab):
    """The page's height before and after all of it has been scrolled through and drawn."""
    tall = "document.documentElement.scrollHeight"
    before = tab.evaluate(tall)
    tab.evaluate(
        """async () => { for (let y = 0; y < document.body.scrollHeight; y += 400) {
        scrollTo(0, y); await new Promise((next) => setTimeout(next, 50)); } }"""
    )
    tab.wait_for_function(
        "[...document.querySelectorAll('.chart')].every(one => one.checkVisibility() ? "
        "one.classList.contains('drawn') : true)"
    )
    return before, tab.evaluate(tall)


def test_charts_keep_the_room_that_their_still_drawings_had(opened):
    tab = opened()
    assert tab.locator(".chart:not(.drawn)").count(), "some are drawn only when they come near"
    before, after = scrolled(tab)
    assert abs(before - after) <= 4


def test_a_phone_has_all_charts_in_their_size_before_it_scrolls(opened):
    tab = opened(width=380)
    tab.wait_for_function(
        "![...document.querySelectorAll('.chart')].some(one => one.clientWidth && !one.classList.contains('drawn'))"
    )
    tab.wait_for_timeout(200)
    before, after = scrolled(tab)
    assert before == after


def test_a_phone_says_what_a_chart_does_not_and_leads_back(opened):
    tab = opened(width=380)
    said = tab.locator(".main-chart figure p.in-chart")
    assert said.is_visible()
    assert "95 % interval" in said.inner_text()
    table = tab.locator("#numbers .scrolls").first
    assert "scrolls sideways" in table.evaluate("one => getComputedStyle(one, '::before').content")
    table.evaluate("one => { one.scrollLeft = 200 }")
    first = table.locator("tbody th").first
    assert abs(first.bounding_box()["x"] - table.bounding_box()["x"]) <= 1, "the first column stays"
    assert first.bounding_box()["width"] >= 100, "and its words are not cut into letters"
    tab.evaluate("scrollTo(0, 3000)")
    assert tab.locator(".toc").bounding_box()["y"] == 0
    last = tab.locator(".toc a").last
    last.evaluate("one => one.closest('nav').scrollTo(9999, 0)")
    box = last.bounding_box()
    assert box["x"] + box["width"] <= 380


@pytest.mark.parametrize("width", [380, 768, 1100, 1180, 1280, 3840])
def test_no_width_scrolls_sideways(opened, width):
    tab = opened(width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".headline").is_visible()


def test_paper_loses_no_finding(opened):
    tab = opened(scheme="dark")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("#findings li").last.is_visible()
    assert tab.locator(".main-chart .static svg").is_visible()
    assert not tab.locator(".main-chart .drawing").is_visible()
    for table in tab.locator("#numbers table.numbers").all():
        hidden = table.locator("tbody tr.established").evaluate_all(
            "all => all.filter(one => !one.checkVisibility()).length"
        )
        assert hidden == 0, "what is established stands on paper"
    note = tab.locator("#numbers .on-paper").first
    assert note.is_visible()
    assert "tables/claims.parquet" in note.inner_text()
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("#findings details").get_attribute("open") is None


def test_the_command_can_be_copied(opened):
    tab = opened()
    button = tab.get_by_role("button", name="Copy the command")
    button.click()
    tab.locator("[data-copy=command]", has_text="cop").wait_for()


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    tab = opened(scheme=scheme)
    tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_timeout(500)
    tab.evaluate(AXE.read_text("utf-8"))
    found = tab.evaluate("axe.run()")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
