"""The page in a headless Chromium: that it draws, and can be used by pointer and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

import smash
from smash.reporting.page import page
from tests.reporting.browser import CHROMIUM, Browser
from tests.reporting.made import HOSTILE, candidates, contents_of, write

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: 'apt-get install chromium' runs these"
)

TIP = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"
TURN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CARD = "document.getElementById('card')"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / HOSTILE.replace("/", "∕")
    found = write(folder, count=40, source=HOSTILE)
    return smash.report(folder), found


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(started, made):
    """The page, opened anew, of a user who wants nothing to move."""
    started.errors.clear()
    started.requests.clear()
    started.set(width=1200)
    started.open(made[0])
    yield started
    assert started.errors == []
    assert started.run("window.boom") is None
    assert {url.split(":")[0] for url in started.requests} == {"file"}


def place(browser, selector):
    """Where the middle of an element is, once it has been scrolled to."""
    find = f"document.querySelector({selector!r})"
    browser.run(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    browser.run(TURN)  # a page is told of a scroll with the next frame
    return browser.run(
        f"(b => [b.left + b.width / 2, b.top + b.height / 2])({find}.getBoundingClientRect())"
    )


def test_page_opens_without_requests_or_errors(browser, made):
    best = min((one for one in made[1] if not one.partial), key=lambda one: one.value)
    assert len(browser.requests) == 1
    assert browser.run("document.querySelectorAll('#stage .op').length") == sum(
        len(block["ops"]) for block in best.architecture["blocks"]
    )


def test_point_shows_a_tip_and_when_clicked_its_card(browser, made):
    chart = "#cost .if-wide .choose"
    number = browser.run(f"document.querySelector('{chart} .point.s1').dataset.i")
    one = made[1][int(number)]
    x, y = place(browser, f"{chart} .point.s1[data-i='{number}']")
    browser.move(x, y)
    assert one.id in browser.wait_for(TIP)
    assert f"{one.params:,} parameters" in browser.run(TIP)
    browser.click(x, y)
    browser.wait_for(f"{CARD}.open && document.querySelector('#card-drawing .op')")
    assert one.id in browser.run("document.getElementById('card-title').textContent")
    drawn = browser.run(
        "[...document.querySelectorAll('#card-drawing .block')]"
        ".map(block => block.querySelectorAll('.op').length)"
    )
    assert drawn == [len(block["ops"]) for block in one.architecture["blocks"]]
    assert browser.run(TIP) == ""


def test_chart_with_arrow_keys_walks_over_its_points(browser, made):
    # To be focused scrolls, and a scroll hides the hint: let the two frames of it pass.
    browser.run("document.querySelector('#cost .if-wide .choose').focus()")
    browser.run(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
    )
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    cheap = sorted(one.params for one in made[1])
    assert f"{cheap[1]:,} parameters" in browser.wait_for(TIP)
    browser.press("End")
    assert f"{cheap[-1]:,} parameters" in browser.run(TIP)
    title = browser.run(TIP).splitlines()[0]
    browser.press("Enter")
    browser.wait_for(f"{CARD}.open && document.querySelector('#card-drawing .op')")
    assert browser.run("document.getElementById('card-title').textContent") == title
    browser.press("Escape")
    browser.wait_for(f"!{CARD}.open")
    assert browser.run("document.activeElement.classList.contains('choose')")


def test_card_with_arrow_keys_walks_through_the_ranking(browser, made):
    browser.run("document.querySelector('#search button[data-i]').click()")
    title = "document.getElementById('card-title').textContent"
    assert browser.wait_for(title).startswith("Rank 0 ")
    assert browser.run("document.getElementById('better').disabled")
    for step, rank in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        browser.press(step)
        assert browser.run(title).startswith(f"Rank {rank} ")
    browser.run("document.getElementById('close').click()")
    assert not browser.run(f"{CARD}.open")


def test_op_under_the_pointer_shows_its_description(browser):
    x, y = place(browser, "#stage .op .chip")
    browser.move(x, y)
    said = browser.wait_for(TIP)
    words = browser.run("document.querySelector('#stage li').textContent")
    assert said.splitlines() == ["Op 0", words]


def test_film_with_reduced_motion_waits_for_play(browser):
    last = int(browser.run("document.getElementById('when').max"))
    assert last > 2
    assert browser.run("document.getElementById('when').value") == str(last)
    browser.run("document.getElementById('play').focus()")
    browser.press("Enter")
    browser.wait_for(f"document.getElementById('when').value < {last}")
    assert browser.run("document.getElementById('play').textContent").endswith("Pause")
    browser.wait_for("document.getElementById('when').value >= 2")
    browser.press("Enter")
    stopped = browser.run("document.getElementById('when').value")
    assert browser.run("document.getElementById('play').getAttribute('aria-pressed')") == "false"
    browser.run("new Promise(done => setTimeout(done, 1000))")
    assert browser.run("document.getElementById('when').value") == stopped


def test_film_wound_by_keys_marks_changed_ops(browser, made):
    frames = browser.run("JSON.parse(document.getElementById('data').textContent).frames")
    browser.run("document.getElementById('when').focus()")
    browser.press("Home")
    first = made[1][frames[0]["i"]]
    browser.wait_for(
        f"document.getElementById('frame-words').textContent === {frames[0]['words']!r}"
        " && !document.querySelector('#stage .changed')"
    )
    ops = sum(len(block["ops"]) for block in first.architecture["blocks"])
    assert browser.run("document.querySelectorAll('#stage .op').length") == ops
    browser.press("ArrowRight")
    browser.wait_for("document.querySelector('#stage .changed')")
    old, new = (made[1][frames[n]["i"]].architecture["blocks"] for n in (0, 1))
    same = [
        f"{index}.{number}"
        for index, block in enumerate(new)
        for number, op in enumerate(block["ops"])
        if number < len(old[index]["ops"])
        and op == old[index]["ops"][number]
        and block["bank_size"] == old[index]["bank_size"]
    ]
    changed = browser.run(
        "[...document.querySelectorAll('#stage .changed')].map(node => node.dataset.op)"
    )
    assert not set(changed) & set(same)
    assert browser.run("document.querySelector('#winner .if-wide .now').dataset.i") == str(
        frames[1]["i"]
    )


def test_film_without_reduced_motion_plays_when_seen(started, made):
    started.set(width=1200, height=1600, still=False)
    started.open(made[0])
    started.run("document.getElementById('player').scrollIntoView({behavior: 'instant'})")
    started.wait_for(
        "Number(document.getElementById('when').value) > 0 && "
        "document.getElementById('play').textContent.endsWith('Pause')"
    )
    started.run("document.getElementById('play').click()")


def test_choice_of_cost_by_keys_changes_the_chart(browser):
    shown = "[...document.querySelectorAll('.of-choice')].map(chart => !chart.hidden)"
    assert browser.run(shown) == [True, False, False, False]
    browser.run("document.querySelector('.choice input').focus()")
    browser.press("ArrowRight")
    assert browser.run(shown) == [False, True, False, False]


def test_focused_element_has_an_outline(browser):
    browser.run("document.getElementById('play').focus({focusVisible: true})")
    browser.press("Tab")
    assert browser.run("document.activeElement.id") == "when"
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_page_on_a_small_screen_fits_its_width(browser, width):
    browser.set(width=width, height=800)
    assert browser.run("document.documentElement.scrollWidth") == width
    seen = browser.run(
        "['wide', 'narrow'].map(name => document.querySelector('#cost .if-' + name).offsetWidth)"
    )
    assert [bool(each) for each in seen] == [width > 640, width <= 640]
    letters = browser.run(
        "(svg => 15 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
        "(document.querySelector('#children .chart'))"
    )
    assert letters > 7.5


def test_letters_in_light_and_dark_mode_have_contrast(browser):
    def contrast() -> float:
        colours = browser.run(
            "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name]"
            ".match(/\\d+/g).slice(0, 3).map(Number))"
        )
        lights = sorted(_luminance(colour) for colour in colours)
        return (lights[1] + 0.05) / (lights[0] + 0.05)

    assert contrast() > 7
    light = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.set(width=1200, dark=True)
    assert browser.run("getComputedStyle(document.body).backgroundColor") != light
    assert contrast() > 7


def _luminance(colour: list[int]) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [each / 255 for each in colour]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_page_of_seven_hundred_candidates_draws_all(started, tmp_path):
    found = candidates(60)[0]
    many = [replace(found[n % 60], id=f"c{n}", index=n) for n in range(700)]
    path = tmp_path / "report.html"
    path.write_text(page(contents_of(many)))
    started.set(width=1200)
    assert started.open(path) > 0
    numbers = "[...document.querySelectorAll('.point[data-i]')].map(point => point.dataset.i)"
    assert started.run(f"new Set({numbers}).size") == 700
