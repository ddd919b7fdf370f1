from __future__ import annotations

import json
import shlex
import shutil
import sys
import time

import pytest

import smash
from smash.errors import CommandError, InvalidValueError
from smash.profiling.stored_times import CHILD, read_latencies
from smash.searching.settings import SearchSettings
from smash.study.study import Study
from tests.documents import PAGES, blocks
from tests.processes import begin, ended, is_running

COUNTS = {"random": 2, "perturb": 0, "markov": 0, "device": "cpu", "latency_format": "py"}


def command_of(path) -> str:
    return f"{shlex.join([sys.executable, str(path)])} {{model}}"


@pytest.fixture
def script(tmp_path):
    """Writes a command that logs its runs, and gives as many milliseconds as the file has bytes."""
    path, log = tmp_path / "time it.py", tmp_path / "log"
    log.touch()

    def write(code: str = "", printed: str = "len(open(sys.argv[1], 'rb').read()) / 1000"):
        path.write_text(
            f"import json, sys\nopen({str(log)!r}, 'a').write(sys.argv[1] + '\\n')\n{code}\n"
            f"print({printed})\n"
        )
        return command_of(path)

    write.log, write.runs = log, lambda: log.read_text().splitlines()
    return write


def test_search_by_latency_command_times_each_candidate_once(run, script):
    settings = {**COUNTS, "latency_command": script(), "max_latency": "1000s"}
    study = smash.search(run, **settings)
    times = {each.id: each.latency for each in study.candidates()}
    assert all(seconds > 1 for seconds in times.values())  # thousands of bytes
    stored = read_latencies(run.path, CHILD)
    assert {name: stored[name].seconds for name in times} == times
    assert {each.device for each in stored.values()} == {"command"}
    runs = script.runs()
    assert len(runs) == 3  # the smallest architecture, and two candidates
    assert all(each.endswith("model.py") for each in runs)
    assert smash.search(run, **settings).candidates() == study.candidates()
    assert script.runs() == runs
    run.study_path.unlink()  # a search that lost its study has not lost its times
    assert smash.search(run, **settings).candidates() == study.candidates()
    assert script.runs() == runs


def test_search_whose_latency_command_fails_continues_after_it(run, script, command):
    off = f"len(open({str(script.log)!r}).readlines()) > 2"
    timed = script(f"if {off}: sys.exit('the board is off')")
    argv = ["search", str(run.path), "--random", "2", "--perturb", "0", "--markov", "0"]
    argv += ["--device", "cpu", "--latency-format", "py", "--max-latency", "1000s"]
    failed = command(*argv, "--latency-command", timed)
    assert failed.code == 1
    (line,) = [each for each in failed.err.splitlines() if "latency_command" in each]
    assert "failed twice: it ended with code 1 (the board is off)" in line
    assert len(script.runs()) == 4  # the smallest, a candidate, and two tries
    script()  # mended
    settings = {**COUNTS, "latency_command": timed, "latency_timeout": 90}
    assert len(smash.search(run, **settings, max_latency="1000s").candidates()) == 2
    assert len(script.runs()) == 5  # nothing is measured twice


def search_by(path, command):
    smash.search(smash.Run.open(path), **COUNTS, latency_command=command, max_latency="1000s")


def test_search_killed_while_its_command_runs_continues_and_leaves_no_process(
    run, script, tmp_path
):
    whole = smash.Run.open(shutil.copytree(run.path, tmp_path / "whole"))
    timed = script()
    search_by(whole.path, timed)
    pids, mended = tmp_path / "pids", tmp_path / "mended"
    hangs = (
        f"len(open({str(script.log)!r}).readlines()) == 6 and not os.path.exists({str(mended)!r})"
    )
    script(f"""import os, time
if {hangs}:
    os.fork()
    open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')
    time.sleep(600)""")
    pids.touch()
    process = begin(search_by, run.path, timed)
    started = time.monotonic()
    while len(running := [int(pid) for pid in pids.read_text().splitlines()]) < 2:
        assert process.is_alive()
        assert time.monotonic() - started < 200
        time.sleep(0.01)
    assert all(map(is_running, running))
    process.kill()
    ended(process)
    assert len(list(run.path.glob(".latency-*/model.py"))) == 1
    while any(map(is_running, running)):
        assert time.monotonic() - started < 220
        time.sleep(0.01)
    mended.touch()
    search_by(run.path, timed)
    found, expected = (Study(each.study_path, each.space).candidates() for each in (run, whole))
    assert found == expected
    assert not list(run.path.glob(".latency-*"))
    assert len(script.runs()) == 3 + 3 + 1  # only the measurement that was cut off is repeated


def test_network_that_does_not_run_is_never_a_candidate(run, script):
    timed = script(
        f"runs = len(open({str(script.log)!r}).readlines())", "'null' if runs == 2 else 1"
    )
    study = smash.search(run, **COUNTS, latency_command=timed, max_latency="2s")
    assert [each.latency for each in study.candidates()] == [1.0, 1.0]
    logged = [json.loads(line) for line in (run.path / "latency.jsonl").read_text().splitlines()]
    (refused,) = [each["id"] for each in logged if each["values"]["seconds"] is None]
    assert refused not in {each.id for each in study.candidates()}
    run.study_path.unlink()
    assert smash.search(run, **COUNTS, latency_command=timed, max_latency="2s").candidates() == (
        study.candidates()
    )
    assert len(script.runs()) == 4


def test_network_that_needs_more_memory_than_it_counts_is_never_a_candidate(run, script):
    timed = script(
        f"runs = len(open({str(script.log)!r}).readlines())",
        "json.dumps({'seconds': 1, 'memory_bytes': 9999 if runs < 3 else 9})",
    )
    limits = {"max_memory": 9000, "objectives": ("loss", "latency"), "evolve": 0, "random": 1}
    smash.search(run, **{**COUNTS, "perturb": None, "markov": None} | limits, latency_command=timed)
    assert len(script.runs()) == 3


def test_documented_command_times_onnx_runtime(run, tmp_path):
    pytest.importorskip("onnxruntime")
    (page,) = (each for each in PAGES if each.name == "search.md")
    (code,) = (block.text for block in blocks(page) if "InferenceSession" in block.text)
    (tmp_path / "latency_onnx.py").write_text(code)
    timed = command_of(tmp_path / "latency_onnx.py")
    settings = {**COUNTS, "random": 1, "latency_format": "onnx", "latency_command": timed}
    (candidate,) = smash.search(run, **settings, max_latency="10s").candidates()
    assert 0 < candidate.latency < 10


def test_latency_command_that_cannot_start_ends_the_search_before_it_begins(run):
    with pytest.raises(CommandError, match="cannot be started"):
        smash.search(run, **COUNTS, latency_command="no-such {model}", max_latency="1s")
    assert not run.study_path.exists()


def test_latency_command_without_limit_or_model_is_refused():
    with pytest.raises(InvalidValueError, match="needs max_latency or the objective latency"):
        SearchSettings(latency_command="time {model}")
    with pytest.raises(InvalidValueError, match=r"must be a program and \{model\}"):
        SearchSettings(latency_command="time", max_latency="1s")
    command = {"latency_command": "time {model}", "max_latency": "1s"}
    assert SearchSettings(latency_timeout="90s", **command).latency_timeout == 90
