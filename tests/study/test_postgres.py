"""Studies on a real PostgreSQL server, which these tests start."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import smash
from smash.cli import main as cli
from smash.errors import InvalidValueError, RunStateError
from smash.scoring.scorer import Scorer
from smash.study.postgres import Server, parse_url
from smash.study.study import Study
from tests.answers import content
from tests.postgres import PASSWORD, Postgres, programs
from tests.processes import begin, ended
from tests.study.candidates import make_candidate

SEARCH = "--random 4 --perturb 0 --markov 7 --device cpu"
NUMBERS = {("random", index) for index in range(4)} | {("markov", index) for index in range(7)}


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="it is an extra: smash-nas[postgres]")
    bin_ = programs()
    if bin_ is None:
        pytest.skip("there is no PostgreSQL to start: install Debian's package postgresql")
    server = Postgres(bin_)
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def database(server):
    return server.database()


@pytest.fixture
def storage(server, database):
    return server.url(database)


@pytest.fixture
def fresh(finished, tmp_path):
    """Makes copies of a trained run of the same name, as on several machines."""

    def copy(machine: str = "here") -> Path:
        leave = shutil.ignore_patterns("study*", "ensemble*", "children")
        return Path(shutil.copytree(finished, tmp_path / machine / "run", ignore=leave))

    return copy


def rows(server, database):
    """The id of each candidate on the server, told by the server itself."""
    with server.connect(database) as connection:
        query = "SELECT value_json FROM trial_user_attributes WHERE key = 'id'"
        return [json.loads(value) for (value,) in connection.execute(query)]


def work(line: str, log: Path, halt_at: int = 0) -> None:
    """Runs a command in a process of its own, which halts before it adds candidate `halt_at`.

    By then all before it are committed, which ``LOG.halted`` tells.
    """
    os.dup2(os.open(f"{log}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    torch.set_num_threads(1)
    os.environ["PGPASSWORD"] = PASSWORD  # the server of forks may have begun before it was set
    sys.argv = ["smash", *line.split()]
    add, calls = Study.add, itertools.count(1)

    def halting(*arguments, **named):
        if next(calls) == halt_at:
            Path(f"{log}.halted").touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return add(*arguments, **named)

    Study.add = halting  # type: ignore[method-assign]
    cli.main()


def guests(server, database):
    """How many connections the server has, this one among them."""
    with server.connect(database) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return connection.execute(query, [database]).fetchone()[0]


def wait_for(process, count, what):
    deadline = time.monotonic() + 300
    while True:
        try:
            if what() >= count:
                return
        except Exception as error:  # the tables are not there yet
            assert "does not exist" in str(error)
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)


def test_study_on_a_server_is_that_of_a_journal(fresh, storage, command):
    counts = {"random": 5, "perturb": 2, "markov": 2, "device": "cpu"}
    alone = smash.Run.open(fresh("alone"))
    wanted, space = smash.search(alone, **counts).candidates(), alone.space
    run = fresh()
    line = f"search {run} --random 5 --perturb 2 --markov 2 --device cpu"
    answer = command(*line.split(), "--storage", storage)
    assert answer.code == 0, answer
    assert storage in answer.err
    assert not (run / "study.journal").exists()
    assert Study(run / "study.journal", space).candidates() == wanted
    assert command(*line.split()).code == 0  # the run remembers; there is nothing to do
    assert Study(run / "study.journal", space).candidates() == wanted
    answer = command("show", str(run), "--json")
    assert json.loads(answer.out)[0]["id"] == min(wanted, key=lambda one: one.value).id

    assert command("retrain", str(run), "--rank", "0", "--epochs", "1", "--device", "cpu").code == 0
    assert (
        command("correlate", str(run), "--train", "3", "--epochs", "1", "--device", "cpu").code == 0
    )
    assert command("report", str(run)).code == 0
    assert all(one.id in (run / "report.html").read_text() for one in wanted)
    assert json.loads((run / "storage.json").read_text())["url"] == storage
    for path in run.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()
    answer = command(*line.replace("--markov 2", "--seed 1").split())
    assert answer.code == 2
    assert "seed was 0" in answer.faults[0]


def test_killed_search_of_a_shared_study_costs_its_own_cohort(
    fresh, server, database, storage, tmp_path
):
    folders = [fresh("here"), fresh("there")]
    lines = [f"search {folder} {SEARCH} --storage {storage}" for folder in folders]
    halted = begin(work, lines[0], tmp_path / "0", 6)
    wait_for(halted, 1, (tmp_path / "0.halted").exists)
    before, alone = rows(server, database), guests(server, database)
    workers = [halted, begin(work, lines[1], tmp_path / "1")]
    wait_for(workers[1], alone + 1, lambda: guests(server, database))
    halted.kill()
    assert [ended(worker) for worker in workers] == [-signal.SIGKILL, 0]
    found = rows(server, database)
    assert len(found) == len(set(found)) == 11  # nothing lost, nothing twice
    assert set(before) <= set(found)
    candidates = Study(folders[1] / "study.journal").candidates()
    assert {(one.strategy, one.index) for one in candidates} == NUMBERS
    run = smash.Run.open(folders[0])
    scorer = Scorer(run.network(torch.device("cpu")), run.search_data)
    for one in candidates[::4]:
        full = scorer(run.space.from_json(one.architecture))
        assert one.partial or (one.loss, one.error) == (full.loss, full.error)


def test_architecture_committed_twice_counts_once(fresh, storage):
    run = smash.Run.open(fresh())
    study = smash.search(run, random=2, perturb=0, markov=0, device="cpu", storage=storage)
    first, second = study.candidates()
    study.add(replace(second, index=7, strategy="markov"), {})
    read = Study(run.study_path, run.space).candidates()
    assert read == study.candidates() == [first, second]
    again = smash.search(run, random=3, perturb=0, markov=0, device="cpu").candidates()
    assert again[:2] == [first, second]
    assert len(again) == 3


def test_candidate_is_committed_as_optuna_commits_it(fresh, server, database, storage):
    run = fresh()
    study = Study(run / "study.journal", create=True, server=Server.choose(run, storage))
    candidate = make_candidate(
        "é'\"", partial=True, proxy=(-math.inf, 2.0), latency=0.01,
        trace={4: 1 / 3, 8: math.inf, 12: -math.inf},
    )  # fmt: skip
    study.add(candidate, {"depth": 3.0, "a 'b'": 0.1})
    (ours,) = study._study.get_trials()
    study._study.add_trial(ours)
    study.add(replace(candidate, id="b"), {})
    trials = study._study.get_trials()
    assert [trial.number for trial in trials] == [0, 1, 2]
    tables = {
        "trials": "state",
        "trial_values": "objective, value, value_type",
        "trial_params": "param_name, param_value, distribution_json",
        "trial_user_attributes": "key, value_json",
        "trial_intermediate_values": "step, intermediate_value, intermediate_value_type",
    }
    with server.connect(database) as connection:
        for table, columns in tables.items():
            query = f"SELECT {columns} FROM {table} WHERE trial_id = %s ORDER BY 1"  # noqa: S608
            by_us, by_optuna = (
                connection.execute(query, [trial._trial_id]).fetchall() for trial in trials[:2]
            )
            assert by_us == by_optuna != []


def test_study_on_a_server_is_read_as_optuna_reads_it(fresh, storage):
    run = fresh()
    server = Server.choose(run, storage)
    study = Study(run / "study.journal", create=True, server=server)
    written = [
        make_candidate("one", architecture={"é\"'": [1, 2]}, trace={4: 0.75, 8: 1 / 3}),
        make_candidate("two", index=1, partial=True, trace={4: math.inf, 8: -math.inf}),
        make_candidate("three", 0.25, index=2, latency=0.01, proxy=(-math.inf, 2.0)),
    ]
    read = []
    for candidate in written:
        study.add(candidate, {"depth": 3.0, "a 'b'": 0.1})
        read += study.candidates()[len(read) :]  # what is new
    assert read == written == Study(run / "study.journal").candidates()
    assert [each.id for each in study.ranked()] == ["three", "one", "two"]
    trials = study._study.get_trials()
    assert [dict(trial.intermediate_values) for trial in trials] == [each.trace for each in read]
    assert study.readable() == {
        trial.user_attrs["id"]: {"depth": 3.0, "a 'b'": 0.1} for trial in trials
    }


@pytest.mark.parametrize(("prior", "first"), [(None, "c4 c2 c3"), ("params", "c4 c3 c2")])
def test_best_on_a_server_is_the_beginning_of_the_ranking(fresh, storage, prior, first):
    run = fresh()
    study = Study(run / "study.journal", create=True, server=Server.choose(run, storage))
    study.settings = {"prior": prior}
    values = {0.5: 2.0, 0.1: -math.inf, 0.4: 0.0, 0.40001: 3.0, 0.3: 1.0}
    for number, (loss, proxy) in enumerate(values.items()):
        fields = {"index": number, "partial": number == 1, "proxy": (proxy,)}
        study.add(make_candidate(f"c{number}", loss, **fields))
    study.add(make_candidate("c0", 0.01, index=9, proxy=(9.0,)))  # again
    best, count = study.best(3)
    assert (" ".join(each.candidate.id for each in best), count) == (first, 5)
    assert best == study.ranking()[:3]
    assert study.best(9) == (study.ranking(), 5)


def test_brief_study_on_a_server_reads_only_the_architectures_that_are_used(fresh, storage):
    run = fresh()
    written = Study(run / "study.journal", create=True, server=Server.choose(run, storage))
    for number in (0, 1, 2, 0):
        candidate = make_candidate(f"c{number}", index=number, architecture={"n": number})
        written.add(replace(candidate, trace={4: 0.5}), {"depth": float(number)})
    study = Study(run / "study.journal", brief=True)
    candidates = study.candidates()
    assert [(each.id, each.loss, each.trace) for each in candidates] == [
        (f"c{number}", 0.5, {}) for number in range(3)
    ]
    study.read_architectures(candidates[1:])
    assert [each.architecture for each in candidates[1:]] == [{"n": 1}, {"n": 2}]
    assert study.readable(candidates[1:]) == {"c1": {"depth": 1.0}, "c2": {"depth": 2.0}}
    with pytest.raises(RuntimeError, match="read_architectures"):
        _ = candidates[0].architecture


def test_brief_study_that_main_effects_rank_reads_all_architectures(fresh, storage):
    run = fresh()
    written = Study(run / "study.journal", create=True, server=Server.choose(run, storage))
    written.settings = {"prior": "main-effects"}
    for number in range(3):
        operations = {"edges": [number, 1 - number % 2]}
        written.add(make_candidate(f"c{number}", 0.1 * number, architecture=operations))
    study = Study(run / "study.journal", brief=True)
    assert study.ranked() == written.ranked()


@pytest.mark.parametrize("value", ['"{\\"a"', "[1]", "7"])
def test_damaged_architecture_on_a_server_is_refused_when_it_is_used(
    fresh, server, database, storage, value
):
    run = fresh()
    study = Study(run / "study.journal", create=True, server=Server.choose(run, storage))
    study.add(make_candidate())
    with server.connect(database) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = %s WHERE key = 'architecture'", [value]
        )
    (candidate,) = study.candidates()
    with pytest.raises(RunStateError, match="is damaged"):
        _ = candidate.architecture


def test_claim_belongs_to_one_search_and_ends_with_its_connection(fresh, server, database, storage):
    one, other = (Server(parse_url(storage), "study", known=True) for _ in range(2))
    with one.claim("cohort") as mine, other.claim("cohort") as theirs:
        assert (mine, theirs) == (True, False)
        with (
            other.claim("another") as free,
            Server(parse_url(storage), "b", known=True).claim("cohort") as elsewhere,
        ):
            assert (free, elsewhere) == (True, True)
    with one.claim("cohort"), server.connect(database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
        with other.claim("cohort") as mine:
            assert mine


def test_search_whose_server_stops_fails_in_one_line_and_resumes(
    fresh, server, database, storage, tmp_path, command
):
    run = fresh()
    line = f"search {run} {SEARCH}"
    worker = begin(work, f"{line} --storage {storage}", tmp_path / "log", 4)
    wait_for(worker, 1, (tmp_path / "log.halted").exists)
    before = rows(server, database)
    assert len(before) == 3
    server.stop()
    os.kill(worker.pid, signal.SIGCONT)
    code = ended(worker)
    said = Path(f"{tmp_path / 'log'}.err").read_text()
    assert code == 1, said
    assert "Traceback" not in said
    (fault,) = [one for one in said.splitlines() if one.startswith("smash: ")]
    assert "what was committed is kept" in fault
    answer = command("show", str(run))
    assert answer.code == 1
    assert len(answer.faults) == 1
    server.start()
    assert command(*line.split()).code == 0
    found = rows(server, database)
    assert set(before) <= set(found)
    assert len(found) == len(set(found)) == 11


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://me:hunter2@host/db", "must be postgresql://"),
        ("hunter2" * 9, "must be postgresql://"),
        ("postgresql://me:hunter2@host:port/db", "must be postgresql://"),
        ("postgresql://me@127.0.0.1/db%00", "must be postgresql://"),
        ("postgresql://me:hunter2@127.0.0.1/db", "must not hold a password"),
        ("postgresql://me:hun@ter2@127.0.0.1/db", "must not hold a password"),
        ("postgresql://me@127.0.0.1/db?password=hunter2", "must not hold a password"),
        ("postgresql://me@127.0.0.1/db?options=-cjit=off", "got 'options'"),
        ("postgresql://me@127.0.0.1/{db}", "braces"),
    ],
)
def test_parse_url_of_a_wrong_url_does_not_repeat_the_password(given, words):
    pytest.importorskip("psycopg", reason="it is an extra: smash-nas[postgres]")
    with pytest.raises(InvalidValueError, match=words) as refused:
        parse_url(given)
    (fault,) = refused.value.faults
    assert "ter2@" not in fault
    assert "hunter2" * 3 not in fault
    assert "://me:" not in fault
    assert "=hunter2" not in fault


def test_search_with_an_unreachable_url_fails_in_one_line(
    fresh, server, storage, command, monkeypatch
):
    run = fresh()
    before = content(run)
    counts = {"random": 1, "perturb": 0, "markov": 0, "device": "cpu"}
    for url, words in (
        (server.url("nowhere"), "does not exist"),
        ("postgresql://me@127.0.0.1:1/db", "Connection refused"),
        ("postgresql://me@127.0.0.1/db?port=x", "non-integer"),
    ):
        with pytest.raises(InvalidValueError, match=words):
            smash.search(smash.Run.open(run), **counts, storage=url)
    monkeypatch.setenv("PGPASSWORD", "another-secret")
    answer = command("search", str(run), "--random", "1", "--device", "cpu", "--storage", storage)
    assert (answer.code, len(answer.faults)) == (2, 1)
    assert "another-secret" not in answer.err
    answer = command("search", str(run), "--storage", "postgresql://me:another-secret@host/db")
    assert (answer.code, len(answer.faults)) == (2, 1)
    assert "another-secret" not in answer.err
    assert content(run) == before


def test_run_has_one_study(finished, fresh, server, storage, tmp_path):
    counts = {"random": 1, "perturb": 0, "markov": 0, "device": "cpu"}
    whole = smash.Run.open(shutil.copytree(finished, tmp_path / "whole"))
    with pytest.raises(RunStateError, match=r"is in its study\.journal"):
        smash.search(whole, **counts, storage=storage)
    run = smash.Run.open(fresh())
    smash.search(run, **counts, storage=storage)
    with pytest.raises(RunStateError, match="is in postgresql://worker"):
        smash.search(run, **counts, storage=server.url("other"))
    (run.path / "storage.json").write_text('{"url": "mysql://host", "name": "x"}')
    with pytest.raises(RunStateError, match="damaged"):
        Study(run.study_path)
