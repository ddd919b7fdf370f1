"""The published experiment in miniature: digits for CIFAR-10, seconds for minutes."""

from __future__ import annotations

import json

import pytest
import torch

import smash
from benchmarks import published
from smash.study.study import Study
from tests.answers import content


class CutError(Exception):
    """Ends the process."""


def test_publish_when_interrupted_continues_and_trains_all_alike(tmp_path, monkeypatch):
    line = f"digits --out {tmp_path} --minutes 0.03 --preset tiny --batch-size 250 --device cpu"
    given = published.parse(line.split())
    monkeypatch.setattr(published, "_TIMED", 6)
    retrained = published.retrained

    def cut(run, study, one, epochs, given):
        retrained(run, study, one, epochs, given)
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(published, "retrained", cut)
        with pytest.raises(CutError):
            published.publish(given)
    run = smash.Run.open(tmp_path / "run")
    plan = json.loads((tmp_path / "plan.json").read_text())["decided"]
    before = content(run.path)
    figures = published.publish(given)
    after = content(run.path)
    assert {name: after[name] for name in before} == before  # nothing was done again
    assert figures["search"] == plan["candidates"]

    candidates = Study(run.study_path).candidates()
    assert len(candidates) == sum(plan["candidates"].values())
    best, drawn, largest, v1, v2 = figures["networks"]
    assert drawn["id"] == candidates[0].id
    assert largest["params"] == max(one.params for one in candidates)
    full = [one for one in candidates if not one.partial]
    assert best["score"] == min(one.value for one in full)
    assert (v1["test_error"], v2["test_error"]) == (0.0553, 0.0403)
    test = run.data.test
    for row in (best, drawn, largest):
        assert row["epochs"] == plan["epochs"] >= 1
        child = smash.Child.open(run.path / "children" / f"{row['id']}-alike")
        with torch.no_grad():
            logits = child.model(torch.device("cpu"))(run.data.normalise(test.images))
        wrong = (logits.argmax(1) != test.labels).double().mean().item()
        assert row["test_error"] == pytest.approx(wrong, abs=2 / len(test))
        assert f"| {row['params']:,} |" in (tmp_path / "published.md").read_text()

    whole = content(tmp_path)
    assert published.publish(given) == figures
    assert content(tmp_path) == whole
    with pytest.raises(SystemExit, match="other options"):
        (tmp_path / "published.json").unlink()
        published.publish(published.parse([*line.split(), "--learning-rate", "0.1"]))
