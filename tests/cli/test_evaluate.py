"""``smash evaluate``, and the count of looks at the test split."""

from __future__ import annotations

import smash
from smash.cli.tables import looks_in_words
from tests.conftest import TINY


def test_each_look_at_the_test_split_is_counted_once(few_digits, tmp_path, command):
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    child = smash.retrain(run, rank=0, epochs=1, device="cpu")
    assert "for 0 trained networks" in looks_in_words(run.path)
    (model,) = smash.export(child, tmp_path / "model.py").files[:1]
    evaluate = ("evaluate", str(child.path), "--model", str(model), "--split")
    assert "looked at" not in command(*evaluate, "val").err
    for _ in range(2):
        assert "looked at for 1 trained network of" in command(*evaluate, "test").err
    smash.retrain(run, rank=1, epochs=1, validate_on="test", device="cpu")
    assert "for 2 trained networks" in looks_in_words(run.path)
    smash.retrain(run, finalists=2, epochs=1, name="copy", test=True, device="cpu")
    children = list(run.path.glob("children/*/result.json"))
    assert len(children) == 3
    assert "for 2 trained networks" in looks_in_words(run.path)
