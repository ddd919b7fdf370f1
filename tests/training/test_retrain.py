from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight

import smash
from smash.cli.tables import print_child
from smash.data import Augmentation, epoch_order
from smash.errors import InvalidValueError, NotFoundError, RunStateError
from smash.io.files import write_atomically
from smash.profiling.cost import cost_of
from smash.profiling.names import COUNTED
from smash.run.child_folder import write_result
from smash.run.mistakes import Mistakes
from smash.runtime.rng import torch_generator
from smash.spaces.baselines import fit_baseline, make_baseline
from smash.spaces.parameters import count_parameters, initialise
from smash.training.child import ChildTraining
from smash.training.children import retrain_several
from smash.training.finals import Finals
from smash.training.train import begin
from tests.conftest import TINY


@pytest.fixture(scope="module")
def searched(trained, digits, tmp_path_factory):
    """The trained run with three candidates; never altered, only copied."""
    run = smash.Run.open(shutil.copytree(trained.path, tmp_path_factory.mktemp("searched") / "run"))
    run.data = digits
    smash.search(run, random=3, perturb=0, markov=0, device="cpu")
    return run.path


@pytest.fixture
def ranked(searched, few_digits, tmp_path):
    """A copy of the searched run, whose children are trained on few examples."""
    run = smash.Run.open(shutil.copytree(searched, tmp_path / "run"))
    run.data = few_digits
    return run


def test_a_child_is_trained_kept_and_evaluated(ranked):
    child = smash.retrain(ranked, rank=0, epochs=2, device="cpu")
    assert child.path.name == f"{child.record.id}-e2"
    assert child.result.keys() == {"train", "val"}
    assert [each.path for each in smash.Child.of_run(ranked)] == [child.path]
    mistakes = Mistakes.of_child(child.path)
    assert all(each.label != each.predicted for each in mistakes)
    picture = Image.open(io.BytesIO(base64.b64decode(mistakes[0].picture)))
    assert picture.size == (8, 8)
    found = smash.Child.open(child.path)
    again = found.evaluate("test", torch.device("cpu"))
    assert again.error == child.result["test"].error
    # By hand: load the weights into the built child and count.
    data = ranked.data
    model = ranked.space.build(ranked.space.from_json(child.record.architecture), data.task, "cpu")
    model.load_state_dict(load_file(child.path / "model.safetensors"))
    with torch.no_grad():
        predicted = model.eval()(data.normalise(data.test.images)).argmax(1)
    assert again.error == pytest.approx((predicted != data.test.labels).double().mean().item())
    assert child.record.mean == list(data.mean)
    assert child.record.classes == list(data.classes)


def test_generated_weights_begin_where_scoring_ended(ranked):
    study = smash.Study(ranked.study_path)
    child = smash.retrain(
        ranked, rank=1, epochs=1, init="generated", learning_rate=1e-12, device="cpu"
    )
    # At no learning rate the weights stay; running statistics move, so errors differ a little.
    expected = study.ranked()[1]
    assert child.record.id == expected.id
    assert child.result["val"].loss == pytest.approx(expected.loss, abs=0.3)


def test_a_finished_child_is_kept_and_an_unfinished_one_goes_on(ranked, monkeypatch):
    child = smash.retrain(ranked, rank=0, epochs=2, device="cpu")
    whole = child.result
    with monkeypatch.context() as patch:
        patch.setattr(ChildTraining, "step", None)
        said = []
        again = smash.retrain(ranked, rank=0, epochs=2, device="cpu", announce=said.extend)
        assert again.result == whole
        assert said == [f"child {child.path.name!r} was trained already, and is kept"]
        tested = smash.retrain(ranked, rank=0, epochs=2, device="cpu", test=True).result
    assert tested.keys() - whole.keys() == {"test"}
    (child.path / "result.json").unlink()
    assert smash.retrain(ranked, rank=0, epochs=2, device="cpu").result == whole


def test_retrain_without_rank_trains_the_winner_of_the_finals(ranked):
    said = []
    child = smash.retrain(
        ranked, finalists=3, epochs=2, test=True, device="cpu", announce=said.extend
    )
    finals = Finals.read(ranked.path / "finals.json")
    assert child.record.id == finals.winner
    assert [(rung.epochs, len(rung.finalists)) for rung in finals.rungs] == [(2, 3)]
    for rung in finals.rungs:
        errors = {}
        for finalist in rung.finalists:
            result = smash.Child.open(ranked.child_path(f"{finalist.id}-e{rung.epochs}")).result
            errors[finalist.id] = result["val"].expected_error
            assert ("test" in result) == (finalist.id == child.record.id)
        assert [finalist.id for finalist in rung.finalists] == sorted(errors, key=errors.get)
    assert said[0].startswith("finals, 2 epochs each, expected validation error: rank ")
    assert said[-1] == f"{child.record.id} is the winner"


def test_retrain_after_interrupted_finals_trains_nothing_twice(ranked, monkeypatch):
    settings = {"finalists": 2, "epochs": 2, "device": "cpu"}
    child = smash.retrain(ranked, test=True, **settings)
    monkeypatch.setattr(ChildTraining, "step", None)
    assert smash.retrain(ranked, test=True, **settings).result == child.result
    # One that was trained to choose by, for as long, has not seen the test split yet.
    whole = child.result
    write_result(child.path, {name: whole[name] for name in ("train", "val")})
    assert "test" not in smash.retrain(ranked, **settings).result
    assert smash.retrain(ranked, test=True, **settings).result == whole


def test_retrain_with_a_name_keeps_the_winner_of_the_finals_under_it(ranked, monkeypatch, capsys):
    smash.retrain(ranked, baseline="resnet-8-1", epochs=1, name="plain", device="cpu")
    with pytest.raises(RunStateError, match="'plain' is 'resnet-8-1', which is no candidate"):
        smash.retrain(ranked, epochs=2, name="plain", device="cpu")
    winner = smash.retrain(ranked, epochs=2, device="cpu")
    monkeypatch.setattr(ChildTraining, "step", None)  # it is trained already
    named = smash.retrain(ranked, epochs=2, name="mine", device="cpu")
    assert named.path.name == "mine"
    assert named.result == winner.result
    print_child(named)
    assert "seeds" not in capsys.readouterr().out  # a copy is no second training
    assert smash.retrain(ranked, epochs=2, name="mine", device="cpu").result == winner.result
    written = []

    def write_two(path, content):
        if len(written) == 2:
            raise RuntimeError("as by a kill")
        written.append(path)
        write_atomically(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("smash.training.children.write_atomically", write_two)
        with pytest.raises(RuntimeError, match="kill"):
            smash.retrain(ranked, epochs=2, name="cut", device="cpu")
    again = smash.retrain(ranked, epochs=2, name="cut", device="cpu")
    assert again.result == winner.result
    for file in winner.path.glob("[!.]*"):  # none was left out
        assert (again.path / file.name).read_bytes() == file.read_bytes()


def test_several_that_were_trained_without_the_test_split_are_tested_when_asked(ranked):
    settings = {"epochs": 1, "device": "cpu"}
    assert all("test" not in child.result for child in retrain_several(ranked, [0, 1], **settings))
    again = retrain_several(ranked, [0, 1], test=True, **settings)
    assert all("test" in child.result for child in again)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"finalists": 0}, "finalists must be at least 1, got 0"),
        ({"finals_share": -1}, "finals_share must be at least 0, got -1"),
        ({"finalists": 2, "rank": 1}, "got 2 with rank 1: leave one of them out"),
        ({"folds": 3, "rank": 1}, "folds is of the finals, which choose the winner, got 3 with"),
        ({"finals_share": 5, "baseline": "wrn"}, "finals_share is of the finals"),
        ({"folds": 3, "finalists": 1}, "folds is of the finals, .* got 3 with finalists 1"),
        ({"folds": 3, "minutes": 1}, r"folds \(3\) and minutes \(1\) exclude each other"),
        ({"finalists": 2, "baseline": "wrn"}, "with baseline 'wrn': leave one of them out"),
    ],
)
def test_retrain_with_conflicting_settings_of_finals_fails(ranked, settings, words):
    with pytest.raises(InvalidValueError, match=words):
        smash.retrain(ranked, device="cpu", **settings)
    assert not (ranked.path / "children").exists()


def test_a_rank_that_is_not_there_is_refused(ranked):
    with pytest.raises(NotFoundError, match="ranks go from 0, the best, to 2"):
        smash.retrain(ranked, rank=3)


@pytest.fixture
def untrained(digits, tmp_path):
    """A run whose SMASH network was never trained, with no candidates."""
    return begin(digits, tmp_path / "untrained", **TINY)


def rows_of(child):
    lines = (child.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def weights_of(child):
    return load_file(child.path / "model.safetensors")


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_reference_network_needs_no_candidates(untrained):
    child = smash.retrain(untrained, baseline="WRN-10-1", epochs=1, test=True, device="cpu")
    assert child.path.name == "wrn-10-1-e1"
    kept = json.loads((child.path / "architecture.json").read_text())
    assert kept["baseline"] == kept["id"] == "wrn-10-1"
    built = make_baseline("wrn-10-1", untrained.data.task)
    cost = dataclasses.asdict(cost_of(built, untrained.data.task))
    assert {name: kept[name] for name in COUNTED} == cost
    # Opened again, it is the network that was trained.
    found = smash.Child.open(child.path)
    model, data = found.model(torch.device("cpu")), untrained.data
    with torch.no_grad():
        predicted = model(data.normalise(data.test.images)).argmax(1)
    wrong = (predicted != data.test.labels).double().mean().item()
    assert found.result["test"].error == pytest.approx(wrong)
    assert found.evaluate("test", torch.device("cpu")).error == pytest.approx(wrong)


def test_a_reference_network_has_no_generated_weights(untrained):
    with pytest.raises(InvalidValueError) as caught:
        smash.retrain(untrained, baseline="wrn-10-1", init="generated", top=2)
    assert len(caught.value.faults) == 2
    assert not (untrained.path / "children").exists()


def test_a_child_may_have_a_name_of_its_own(ranked):
    child = smash.retrain(ranked, rank=0, epochs=1, name="mine", device="cpu")
    assert child.path == ranked.path / "children" / "mine"
    (child.path / "result.json").unlink()
    with pytest.raises(RunStateError, match="epochs was 1 when child 'mine' was begun, got 2"):
        smash.retrain(ranked, rank=0, epochs=2, name="mine", device="cpu")
    with pytest.raises(RunStateError, match="id was"):
        smash.retrain(ranked, rank=1, epochs=1, name="mine", device="cpu")


def test_validation_is_as_often_as_asked_and_on_what_was_asked(ranked, few_digits):
    ranked.data = few_digits
    never = smash.retrain(ranked, rank=0, epochs=3, validate_every=0, device="cpu")
    assert ["val_error" in row for row in rows_of(never)] == [False, False, True]
    # It changes no weight, so the child is the same.
    (never.path / "result.json").unlink()
    (never.path / "state.safetensors").unlink()
    (never.path / "metrics.jsonl").unlink()
    each = smash.retrain(
        ranked, rank=0, epochs=3, validate_every=2, validate_on="test", test=True, device="cpu"
    )
    assert each.path == never.path
    assert ["val_error" in row for row in rows_of(each)] == [False, True, True]
    last = rows_of(each)[-1]
    assert last["split"] == "test"
    assert last["val_error"] == each.result["test"].error
    assert last["val_top5_error"] == each.result["test"].top5_error


def test_copies_are_kept_every_so_many_epochs(ranked, few_digits):
    ranked.data = few_digits
    child = smash.retrain(ranked, rank=0, epochs=5, keep_every=2, device="cpu")
    copies = sorted(path.name for path in (child.path / "copies").iterdir())
    assert copies == ["epoch-2.safetensors", "epoch-4.safetensors"]
    names = weights_of(child).keys()
    assert load_file(child.path / "copies" / copies[0]).keys() == names


def test_retrain_augments_as_the_data_says_if_asked_or_long(untrained):
    untrained.data = dataclasses.replace(untrained.data, augmentation=Augmentation(padding=1))
    recipe = {"baseline": "wrn-10-1", "epochs": 1, "device": "cpu"}
    augmented = smash.retrain(untrained, rank=0, augment=True, **recipe)
    plain = smash.retrain(untrained, rank=0, **recipe)
    assert (augmented.path.name, plain.path.name) == ("wrn-10-1-e1-augmented", "wrn-10-1-e1")
    untrained.data = dataclasses.replace(untrained.data, augmentation=Augmentation())
    without = smash.retrain(untrained, rank=0, name="without", **recipe)
    assert same(weights_of(plain), weights_of(without))
    assert not same(weights_of(plain), weights_of(augmented))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_retrain_in_half_precision_gives_nearly_the_same_loss(untrained, few_digits, precision):
    untrained.data = few_digits
    recipe = {"baseline": "wrn-10-1", "epochs": 1, "device": "cpu", "learning_rate": 0.01}
    whole = smash.retrain(untrained, rank=0, precision="fp32", **recipe)
    half = smash.retrain(untrained, rank=0, precision=precision, **recipe)
    assert half.path.name == f"wrn-10-1-e1-lr0.01-{precision}"
    assert not same(weights_of(half), weights_of(whole))
    assert all(value.dtype != torch.float16 for value in weights_of(half).values())
    losses = [rows_of(child)[0]["train_loss"] for child in (half, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_retrain_with_class_weights_weighs_rare_classes_more(untrained):
    data = untrained.data
    labels = data.train.labels
    few = torch.cat([torch.where(labels > 1)[0], torch.where(labels <= 1)[0][:8]])
    untrained.data = dataclasses.replace(data, train=data.train.subset(few))
    recipe = {"baseline": "wrn-10-1", "epochs": 1, "device": "cpu", "learning_rate": 1e-12}
    weighted = smash.retrain(untrained, rank=0, class_weights=True, **recipe)
    assert weighted.path.name.endswith("-weighted")
    # At no learning rate the network stays as it began: by hand, the loss of its batches.
    data = untrained.data
    network = make_baseline("wrn-10-1", data.task, "cpu")
    initialise(network, torch_generator(0, "initial weights"))
    balanced = compute_class_weight("balanced", classes=np.arange(10), y=data.train.labels.numpy())
    of_class = torch.from_numpy(balanced).float()
    losses = []
    for rows in epoch_order(len(data.train), 0, 0).split(50)[: len(data.train) // 50]:
        batch = data.train.subset(rows)
        chances = network(data.normalise(batch.images)).softmax(1)
        of_label = chances.gather(1, batch.labels[:, None])[:, 0]
        losses.append((-of_label.log() * of_class[batch.labels]).mean().item())
    assert rows_of(weighted)[0]["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_name_that_two_recipes_share_is_of_the_first(ranked):
    asked = {"epochs": 1, "device": "cpu"}
    child = smash.retrain(ranked, rank=0, learning_rate=0.1234567, **asked)
    for again in (
        lambda: smash.retrain(ranked, rank=0, learning_rate=0.1234568, **asked),
        lambda: retrain_several(ranked, [0], learning_rate=0.1234568, **asked),
    ):
        with pytest.raises(RunStateError, match=r"learning_rate was 0\.1234567 .* choose another"):
            again()
    assert retrain_several(ranked, [0], learning_rate=0.1234567, **asked)[0].path == child.path


def test_initial_weights_are_of_the_seed_alone(digits):
    first, second, other = (make_baseline("wrn-10-1", digits.task, "cpu") for _ in range(3))
    for network, seed in ((first, 0), (second, 0), (other, 1)):
        initialise(network, torch.Generator().manual_seed(seed))
    assert same(dict(first.named_parameters()), dict(second.named_parameters()))
    assert not same(dict(first.named_parameters()), dict(other.named_parameters()))


MODERN = {"baseline": "wrn-10-1", "recipe": "modern", "epochs": 3, "device": "cpu"}


def curves_of(child):
    return [{key: row[key] for key in row if key != "seconds"} for row in rows_of(child)]


@pytest.fixture(scope="module")
def modern(digits, tmp_path_factory):
    """A child of the modern recipe, trained in one go; patience never ends it."""
    run = begin(digits, tmp_path_factory.mktemp("modern") / "run", **TINY)
    return smash.retrain(run, rank=0, patience=3, **MODERN)


def test_the_modern_recipe_learns_and_is_named(modern):
    assert modern.path.name == "wrn-10-1-modern-e3-p3"
    errors = [row["val_error"] for row in rows_of(modern)]
    assert errors[-1] < 0.15


class _CutError(Exception):
    pass


@pytest.mark.parametrize("cut", ["in an epoch", "in validation"])
def test_retrain_interrupted_resumes_exactly_with_the_modern_recipe(
    untrained, modern, cut, monkeypatch
):
    name = "step" if cut == "in an epoch" else "validate"
    calls, real = [], getattr(ChildTraining, name)

    def counted(self, *arguments):
        if len(calls) == (30 if cut == "in an epoch" else 1):
            raise _CutError
        calls.append(None)
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ChildTraining, name, counted)
        with pytest.raises(_CutError):
            smash.retrain(untrained, rank=0, patience=3, **MODERN)
    again = smash.retrain(untrained, rank=0, patience=3, **MODERN)
    assert same(weights_of(again), weights_of(modern))
    assert curves_of(again) == curves_of(modern)
    assert again.result == modern.result


def test_retrain_with_patience_stops_and_keeps_the_best(untrained):
    # At so large a rate no error falls epoch after epoch.
    recipe = {"baseline": "wrn-10-1", "epochs": 12, "learning_rate": 1.5, "device": "cpu"}
    child = smash.retrain(untrained, rank=0, patience=1, keep_every=1, **recipe)
    found = [(row["val_error"], row["val_loss"]) for row in rows_of(child)]
    best = min(found)
    assert len(found) == found.index(best) + 1 + 1 < 12
    assert (child.result["val"].error, child.result["val"].loss) == best
    copy = child.path / "copies" / f"epoch-{found.index(best) + 1}.safetensors"
    assert same(weights_of(child), load_file(copy))
    # Nothing is left to train, and the best is still there.
    (child.path / "result.json").unlink()
    assert (
        smash.retrain(untrained, rank=0, patience=1, keep_every=1, **recipe).result == child.result
    )


def test_patience_without_validation_is_refused(untrained):
    with pytest.raises(InvalidValueError, match="needs validations"):
        smash.retrain(untrained, baseline="wrn", patience=1, validate_every=0)
    with pytest.raises(InvalidValueError, match="must not choose by the test split"):
        smash.retrain(untrained, baseline="wrn", patience=1, validate_on="test")


def test_a_reference_network_of_the_candidates_size(ranked):
    lines = []
    child = smash.retrain(ranked, rank=1, baseline="resnet", epochs=1, announce=lines.extend)
    candidate = smash.Study(ranked.study_path).ranked()[1]
    assert child.record.baseline == fit_baseline("resnet", candidate.params, ranked.data.task)
    assert f"{child.record.params:,}" in lines[0]
    assert f"{candidate.params:,}" in lines[0]
    assert len(lines) == 1
    with pytest.raises(NotFoundError, match="rank 3 does not exist"):
        smash.retrain(ranked, rank=3, baseline="WRN")


def test_a_reference_network_of_another_size_is_told(ranked, monkeypatch):
    monkeypatch.setattr("smash.training.retrain.fit_baseline", lambda *_: "wrn-10-1")
    monkeypatch.setattr("smash.training.retrain._retrain", lambda *_: None)
    lines = []
    smash.retrain(ranked, baseline="wrn", device="cpu", announce=lines.extend)
    times = 77_562 / smash.Study(ranked.study_path).ranked()[0].params
    assert f"that is {times:.2g} times as many" in lines[1]


def test_without_candidates_a_reference_network_needs_a_size(untrained):
    with pytest.raises(NotFoundError, match="name one of a size, such as wrn-16-2"):
        smash.retrain(untrained, baseline="wrn", epochs=1)


def test_a_proxy_ranks_and_the_space_as_asked_is_trained(few_digits, tmp_path):
    run = smash.train(
        few_digits, tmp_path / "run", epochs=1, space="nas-bench-201",
        options={"channels": 2, "cells": 2}, device="cpu",
    )  # fmt: skip
    assert run.settings.training.proxy_space
    names = [name for name, _ in run.network(torch.device("cpu")).named_parameters()]
    assert any("stages/0/0" in name for name in names)
    assert not any("stages/0/1" in name for name in names)
    smash.search(run, random=3, perturb=0, markov=0, examples=50, device="cpu")
    child = smash.retrain(run, rank=0, epochs=1, test=False, device="cpu")
    shipped = run.space.build(run.space.from_json(child.record.architecture), run.data.task)
    assert load_file(child.path / "model.safetensors").keys() == shipped.state_dict().keys()
    assert child.record.params == count_parameters(shipped)
    with pytest.raises(InvalidValueError, match="init must be 'scratch' in run"):
        smash.retrain(run, rank=0, init="generated", epochs=1)
    before = set(run.path.glob("children/*"))
    with pytest.raises(InvalidValueError, match="init must be 'scratch' in run"):
        smash.retrain(run, init="generated", epochs=1)
    assert set(run.path.glob("children/*")) == before  # no finalist has been trained
    with pytest.raises(InvalidValueError, match="init must be 'scratch' in run"):
        retrain_several(run, [0], init="generated", epochs=1)


def test_retrain_from_generated_weights_names_a_comparison_that_is_allowed(ranked, command):
    asked = "--rank 0 --epochs 1 --seed 5 --init generated --device cpu"
    found = command("retrain", str(ranked.path), *asked.split())
    (line,) = (line for line in found.err.splitlines() if line.startswith("Next: smash compare"))
    assert line.split(",")[0].split()[4:] == ["--ranks", "0", "--epochs", "1", "--seed", "5"]


def test_retrain_of_a_baseline_without_a_search_names_the_search_as_the_next_step(
    untrained, command
):
    asked = "--baseline wrn-10-1 --epochs 1 --device cpu"
    found = command("retrain", str(untrained.path), *asked.split())
    assert found.code == 0, found.err
    assert found.err.splitlines()[-1] == f"Next: smash search {untrained.path}"
