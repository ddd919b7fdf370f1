from __future__ import annotations

import pytest

from smash.cli.tables import print_pareto_front, trust_of
from smash.io.records import Interval
from smash.run.layout import FOUND
from smash.study.study import Study
from tests.answers import call
from tests.reporting.made import trust
from tests.study.candidates import make_candidate


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path / "study.journal", create=True)
    study.add(make_candidate("a"))
    return study


def test_trust_of_a_ranking_is_not_that_of_another(study, tmp_path):
    low, high = (Interval(value=value, low=0.0, high=1.0) for value in (0.25, 0.75))
    record = trust(low, points=[("a", 1.0, 0.5)], params=low)
    joined = record.baselines["params"].model_copy(update={"kendall_tau": high})
    record.model_copy(update={"together": {"macs": joined}}).write(tmp_path / FOUND)
    study.settings = {"rank_by": "loss", "prior": "macs"}
    assert "Kendall τ of 0.75" in trust_of(tmp_path, study)
    study.settings = {"rank_by": "loss", "prior": None}
    assert "Kendall τ of 0.25" in trust_of(tmp_path, study)
    for settings in ({"rank_by": "error", "prior": None}, {"rank_by": "loss", "prior": "naswot"}):
        study.settings = settings
        assert "was not checked" in trust_of(tmp_path, study)


def test_pareto_front_shows_each_objective(study, capsys):
    study.settings = {"objectives": ["top5_error", "memory", "flash"], "rank_by": "top5_error"}
    print_pareto_front(study)
    heading = next(line for line in capsys.readouterr().out.splitlines() if "rank" in line)
    assert heading.split() == [
        *("rank", "id", "error", "loss", "parameters", "top-5", "RAM", "flash", "strategy")
    ]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--front", "--top", "3"), "the front is shown whole, got top 3"),
        (("--operators", "2", "--front"), "got front as well"),
        (("--operators", "2", "--top", "3"), "got top as well"),
    ],
)
def test_show_refuses_options_that_it_would_ignore(study, tmp_path, capsys, options, fault):
    assert call("show", str(tmp_path), *options) == 2
    assert fault in capsys.readouterr().err
