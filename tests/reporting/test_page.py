"""The page as text: what it says, and that nothing in a run's names can become part of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import smash
from smash.comparing.comparison import Comparison, Contestant
from smash.config import SpaceSettings
from smash.errors import NotFoundError, RunStateError
from smash.io.records import Interval
from smash.reporting.contents import read_contents
from smash.reporting.drawing import unpack
from smash.reporting.formatting import count, size
from smash.reporting.page import page
from smash.run.child_folder import read_record
from smash.run.layout import CHILDREN, COMPARISON, FINALS, METRICS, RESULT, STUDY
from smash.study.study import Study
from smash.training.finals import Finalist, Finals, Rung
from tests.reporting.html import Page, of_class, parsed, said
from tests.reporting.made import HOSTILE, begin, candidates, child, contents_of, trust, write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, write(folder)


@pytest.fixture(scope="module")
def read(made):
    return Page(smash.report(made[0]).read_text())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / HOSTILE.replace("/", "∕")
    write(folder, source=HOSTILE)
    return folder


def ranked(found):
    return sorted((one for one in found if not one.partial), key=lambda one: one.value)


def test_report_writes_the_page_into_the_run(made, read):
    folder, found = made
    best = ranked(found)[0]
    assert (folder / "report.html").is_file()
    assert f"Of 21 architectures that were scored with generated weights, {best.id}" in read.words
    assert "Trained, it errs on 12.00% of 100 test examples" in read.words
    for title in ("The winner", "Error against cost", "Can the ranking be trusted?", "Environment"):
        assert title in read.words
    assert "3 candidates dropped early, with partial scores, left out." in read.words


def test_page_refers_to_nothing_elsewhere(read):
    for tag, attributes in read.tags:
        assert tag not in ("img", "iframe", "object", "embed", "link") or (
            attributes.get("href") == "data:,"
        )
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:,"))


def test_page_ids_are_unique_and_labels_point_to_them(read):
    given = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(given) == len(set(given))
    for _, attributes in read.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in given
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in given


def test_page_pictures_and_buttons_have_names(read):
    for tag, attributes in read.tags:
        if attributes.get("role") in ("img", "application"):
            assert attributes["aria-label"]
        if tag == "svg":
            assert "aria-label" in attributes or attributes.get("aria-hidden") == "true"


def test_page_charts_have_a_point_for_each_candidate(made, read):
    _, found = made
    numbers = [
        int(attributes["data-i"])
        for tag, attributes in read.tags
        if tag == "path" and attributes.get("data-i") and "s0" in attributes["class"]
    ]
    partial = [
        int(attributes["data-i"])
        for tag, attributes in read.tags
        if tag == "path" and attributes.get("data-i") and "partial" in attributes["class"]
    ]
    # The course and four costs, each in two sizes; and a point of the trust check.
    first = [n for n, one in enumerate(found) if one.strategy == "random" and not one.partial]
    assert set(first) <= set(numbers)
    assert sorted(partial) == sorted([n for n, one in enumerate(found) if one.partial] * 10)


def test_page_drawings_are_of_its_candidates(made, read):
    _, found = made
    assert set(read.data["drawings"]) == {str(number) for number in range(len(found))}
    for number, one in enumerate(found):
        drawing = parsed(unpack(read.data["drawings"][str(number)]))
        ops = sum(len(block["ops"]) for block in one.architecture["blocks"])
        assert len(of_class(drawing, "op")) == ops
        assert one.id in read.data["candidates"][number]["title"]
        assert ("partial" in read.data["candidates"][number]["lines"][0]) == one.partial


def test_page_ranks_partial_scores_last(made, read):
    _, found = made
    expected = sorted(range(len(found)), key=lambda n: (found[n].partial, found[n].value))
    full = [n for n in expected if not found[n].partial]
    assert read.data["order"][: len(full)] == full
    assert set(read.data["order"][len(full) :]) == {n for n in expected if found[n].partial}
    assert read.data["candidates"][full[0]]["title"] == f"Rank 0 · {found[full[0]].id}"


def test_page_film_goes_from_the_first_to_the_winner(made, read):
    _, found = made
    best, least = [], float("inf")
    for number, one in enumerate(found):
        if not one.partial and one.value < least:
            least = one.value
            best.append(number)
    assert [frame["i"] for frame in read.data["frames"]] == best
    first = read.data["frames"][0]["words"]
    assert first == f"After 1 candidate: validation loss {found[0].value:.4g}, by random."


def test_page_lists_children_finished_or_not(made, read):
    assert "not finished: 2 epochs so far" in read.words
    costs = read_record(next(made[0].glob(f"{CHILDREN}/*/{RESULT}")).parent)
    words = (count(costs.params), count(costs.macs), size(costs.memory), size(costs.flash))
    assert " ".join(words) in read.words
    assert re.search(r"8\.00% \d+\.\d…\d+\.\d% 9\.00% \d+\.\d…\d+\.\d%", read.words)
    table = read.words.split("Trained children")[1].split("Training of children")[0]
    assert "audit" not in table
    assert "Grey: 1 child of the trust check." in read.words
    assert "Share of each class that" in read.words
    assert "75.00%" in read.words


def test_page_of_data_with_duplicates_across_splits_says_so(contents):
    data = contents.settings.data.model_copy(update={"duplicates": "2 of 9 <b>test</b> examples"})
    settings = contents.settings.model_copy(update={"data": data})
    assert (
        "Note: 2 of 9 <b>test</b> examples"
        in Page(page(replace(contents, settings=settings))).words
    )
    assert "Note:" not in Page(page(contents)).words


def test_page_draws_the_rank_correlation(made, read):
    html = (made[0] / "report.html").read_text()
    trust = html.split('<section id="trust"')[1].split("</section>")[0]
    shown = parsed(f"<section{trust.split('>', 1)[0]}>{trust.split('>', 1)[1]}</section>")
    rows = {
        said(one.find("text")): said(of_class(one, "value")[0])
        for one in of_class(shown, "interval")
    }
    assert rows == {"SMASH score": "0.50", "params": "0.50"}  # MACs agree with nothing
    points = of_class(shown, "point")
    assert len(points) == 2  # one has no score
    assert [one.find("title").text for one in points if "data-i" not in one.attrib] == ["gone"]
    assert "accuracy on the audit split" in read.words


def test_page_with_hostile_names_escapes_them(hostile):
    html = smash.report(hostile).read_text()
    read = Page(html)
    assert [tag for tag, _ in read.tags].count("script") == 2
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in read.tags)
    assert HOSTILE in read.words  # the class, the source, the GPU
    assert html.count("</script>") == 2
    assert " ".join(hostile.name.split()) in read.words


def test_page_with_a_hostile_architecture_escapes_it(tmp_path):
    """A space of one's own may name anything anything."""
    folder = tmp_path / "own"
    begin(folder, SpaceSettings(name="not-known-here"))
    study = smash.Study(folder / STUDY, create=True)
    study.settings = {"rank_by": "error"}
    found, _ = candidates(2)
    for number, one in enumerate(found):
        own = {**vars(one), "architecture": {HOSTILE: [HOSTILE]}, "strategy": HOSTILE}
        study.add(smash.Candidate(**own), {"depth": float(number), HOSTILE: 2.0})
    html = smash.report(folder).read_text()
    read = Page(html)
    assert html.count("</script>") == 2
    assert not any(tag == "img" for tag, _ in read.tags)
    drawing = parsed(unpack(read.data["drawings"]["0"]))
    assert json.loads(drawing.find(".//pre").text) == {HOSTILE: [HOSTILE]}
    assert HOSTILE in said(drawing)


def test_page_with_a_lone_surrogate_shows_a_question_mark(tmp_path):
    begin(tmp_path / "new", source="odd")
    (tmp_path / "new" / "environment.json").write_text('{"gpu": "\\ud800x"}')
    assert "?x" in Page(smash.report(tmp_path / "new").read_text()).words


def test_page_of_a_run_without_a_search_shows_its_training(tmp_path):
    begin(tmp_path / "new")
    read = Page(smash.report(tmp_path / "new").read_text())
    assert "The SMASH network has not been trained yet" in read.words
    assert read.data == {"candidates": [], "drawings": {}, "frames": [], "order": []}
    row = {"step": 5, "epoch": 1, "train_loss": 2.0, "seconds": 1.0}
    (tmp_path / "new" / METRICS).write_text(json.dumps(row) + "\n")
    assert "Training of the SMASH network" in Page(smash.report(tmp_path / "new").read_text()).words


def test_page_commands_name_no_folder(contents):
    """The page may be opened anywhere, and the name of the folder is not its path."""
    words = Page(page(contents)).words
    for command in ("correlate RUN --minutes 10", "retrain RUN"):
        assert f"smash {command}" in words
    assert f" {contents.name}" not in words.split("Winner", 1)[1]


def test_page_of_partial_scores_has_no_winner(tmp_path):
    folder = tmp_path / "partial"
    begin(folder)
    study = smash.Study(folder / STUDY, create=True)
    for one in candidates(2)[0]:
        study.add(smash.Candidate(**{**vars(one), "partial": True}), {})
    assert "no architecture has been scored" in Page(smash.report(folder).read_text()).words


def test_page_names_a_reference_network(tmp_path):
    folder = tmp_path / "with-baseline"
    best = ranked(write(folder))[0]
    child(folder, best, "-x", 0.01, {"test": 0.01}, "dog")
    path = folder / CHILDREN / f"{best.id}-x" / "architecture.json"
    about = json.loads(path.read_text())
    del about["architecture"]
    path.write_text(json.dumps({**about, "id": "resnet18", "baseline": "resnet18"}))
    read = Page(smash.report(folder).read_text())
    assert "Trained, it errs on 12.00%" in read.words  # the winner, not the baseline that is better


def test_winner_of_the_finals_is_shown_though_the_race_had_dropped_it(tmp_path):
    folder = tmp_path / "finals"
    write(folder)
    dropped = next(one for one in Study(folder / STUDY).ranked() if one.partial)
    of_finals = Finalist(id=dropped.id, rank=20, error=0.1, expected_error=0.2)
    Finals(rungs=[Rung(epochs=3, side=8, finalists=[of_finals])]).write(folder / FINALS)
    contents = read_contents(folder)
    assert contents.winner is not None and contents.winner.id == dropped.id
    assert f"{dropped.id} came out best in the finals of 1" in Page(page(contents)).words


def test_headline_after_a_comparison_is_the_mean_of_all_seeds_not_the_best_of_them(tmp_path):
    folder = tmp_path / "compared"
    winner = ranked(write(folder))[0]
    mean = Interval(value=0.15, low=0.11, high=0.2)
    contestant = Contestant(
        role="winner", name=winner.id, params=1, macs=1, memory=1, flash=1, latency=0.00123,
        minutes=1.0, val=mean, test=mean, behind=mean,
    )  # fmt: skip
    untimed = contestant.model_copy(update={"role": "plain", "name": "cnn-3", "latency": None})
    comparison = Comparison(
        length="3 epochs", seeds=3, val_examples=50, test_examples=100,
        contestants=[contestant, untimed], verdict="Nothing is better.",
    )  # fmt: skip
    comparison.write(folder / COMPARISON)
    words = Page(smash.report(folder).read_text()).words
    assert (
        "Trained with each of 3 seeds, it errs on 15.00% of 100 test examples in the mean" in words
    )
    assert "it errs on 12.00%" not in words
    assert "for the winner. Nothing" not in words
    assert f"{winner.id} winner 1 1 1 B 1 B 1.23 15.00%" in words
    assert "cnn-3 1 1 1 B 1 B – 15.00%" in words
    other = contestant.model_copy(update={"name": "0123456789ab"})
    comparison.model_copy(update={"contestants": [other]}).write(folder / COMPARISON)
    words = Page(smash.report(folder).read_text()).words
    assert "The comparison took 0123456789ab for the winner. Nothing is better." in words


def test_report_of_a_damaged_run_names_the_file(tmp_path):
    folder = tmp_path / "damaged"
    best = ranked(write(folder))[0]
    (folder / CHILDREN / f"{best.id}-e3" / RESULT).write_text("{")
    with pytest.raises(RunStateError, match=r"result\.json"):
        smash.report(folder)
    with pytest.raises(NotFoundError, match="smash train"):
        smash.report(tmp_path / "nowhere")


def test_report_repeated_gives_the_same_page(made):
    first = smash.report(made[0]).read_bytes()
    assert smash.report(made[0]).read_bytes() == first


def test_report_changes_no_other_file(tmp_path):
    folder = tmp_path / "run"
    write(folder)

    def state():
        return {
            path: path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "report.html"
        }

    before = state()
    smash.report(folder)
    assert state() == before


def test_report_command_prints_the_path_of_the_page(tmp_path, monkeypatch, capsys):
    folder: Path = tmp_path / "run"
    write(folder)
    monkeypatch.setattr("sys.argv", ["smash", "report", str(folder)])
    from smash.cli.main import main

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_page_without_room_leaves_out_drawings(some):
    many = [replace(some[n % len(some)], id=f"c{n}", index=n) for n in range(300)]
    every, few = page(contents_of(many)), page(contents_of(many), largest=600_000)
    assert len(every.encode()) > 600_000 >= len(few.encode()) > 580_000
    assert len(Page(every).data["drawings"]) == 300
    read = Page(few)
    assert len(read.data["candidates"]) == 300
    assert 50 < len(read.data["drawings"]) < 300
    assert {str(frame["i"]) for frame in read.data["frames"]} <= set(read.data["drawings"])


def test_page_with_latencies_has_a_chart_of_them(some):
    timed = [replace(one, latency=0.001 * (n + 1)) for n, one in enumerate(some)]
    read = Page(page(contents_of(timed)))
    assert "Error against latency of the child" in read.words
    assert "1 ms" in read.data["candidates"][0]["lines"][1]
    assert "latency" not in Page(page(contents_of(some))).words


def test_page_without_room_counts_what_is_beside_drawings(some):
    """Latencies, and a check of the ranking with more points than a page can hold."""
    many = [replace(some[n % 40], id=f"c{n}", index=n, latency=0.01) for n in range(300)]
    points = [(f"x{n}", 1 + n / 5000, 0.5) for n in range(5000)]
    found = trust(Interval(value=0.5, low=0.4, high=0.6), points=points)
    made = page(replace(contents_of(many), trust=found), largest=800_000)
    assert 780_000 < len(made.encode()) <= 800_000
    assert "3,000 of 5,000." in Page(made).words
    assert 10 < len(Page(made).data["drawings"]) < 300


def test_page_of_seven_hundred_candidates_is_below_six_megabytes():
    """Those of the original program have the largest drawings."""
    found, _ = candidates(20, SpaceSettings(preset="original"))
    many = [replace(found[n % 20], id=f"c{n}", index=n, latency=0.01) for n in range(700)]
    made = page(contents_of(many))
    assert len(made.encode()) < 6_000_000
    assert len(Page(made).data["candidates"]) == 700
