"""Measures a study of up to a million candidates on a PostgreSQL server, and a driver of Ray.

A small search leaves a few candidates on a real server, where SQL multiplies them. Each command
runs in a process of its own, whose time and peak memory are kept. Then 64 workers commit at once.
Ray spreads work that does nothing, so that the driver is what is measured::

    python -m benchmarks.growth study --rows 10000 100000 1000000
    python -m benchmarks.growth ray --workers 64
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.postgres import PASSWORD, Postgres, programs

import smash
from smash.io.files import read_json, write_json
from smash.run.run import Run, environment
from smash.runtime.ray_executor import RayExecutor
from smash.study.candidate import Candidate
from smash.study.study import Study

_RESULT = Path(__file__).parent / "results" / "growth.json"
_TEMPLATES = 50
_CHUNK = 400  # copies of all templates that one statement inserts
_LIMIT = 600  # seconds of CPU until a command is given up
_WORKERS, _COMMITS = 64, 3
_COHORT = 100  # pieces of work that are submitted at once, as a search does

_STUDY = """
import sys
from pathlib import Path
from smash.run.layout import STUDY
from smash.study.study import Study
path = Path(sys.argv[1])
study = Study(path / STUDY)
"""
_RANKED = _STUDY + "study.ranked()"
_OPTUNA = _STUDY + "study._study.get_trials(deepcopy=False)"
_PROPOSED = (
    _STUDY
    + """
import json, time
import numpy as np
from smash.run.run import Run
from smash.searching.strategies import MarkovChain, Nsga2, RandomSampling, RegularisedEvolution
space = Run.open(path).space
history = Study(path / STUDY, space).candidates()
seconds = {}
for strategy in (RandomSampling(space), MarkovChain(space), RegularisedEvolution(space),
                 Nsga2(space, ["error", "params"])):
    begun = time.process_time()
    strategy.propose(history, np.random.default_rng(0), 1)
    seconds[strategy.name] = round(time.process_time() - begun, 3)
print(json.dumps(seconds))
"""
)
_ALL = ["ranked", "show", "report", "proposed", "commits"]
_COPIES = (
    """INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    SELECT trial_id + c * {k}, number + c * {k}, study_id, state, datetime_start, datetime_complete
    FROM generate_series({a}, {b}) c, trials WHERE trial_id <= {k}""",
    """INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial_id + c * {k}, objective, value + {jitter}, value_type
    FROM generate_series({a}, {b}) c, trial_values WHERE trial_id <= {k}""",
    """INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id + c * {k}, param_name, param_value, distribution_json
    FROM generate_series({a}, {b}) c, trial_params WHERE trial_id <= {k}""",
    """INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id + c * {k}, key, CASE key
        WHEN 'loss' THEN (value_json::float + {jitter})::text
        WHEN 'index' THEN (value_json::int + c * {k})::text
        WHEN 'id' THEN to_json(concat(value_json::json #>> '{{}}', '-', c))::text
        ELSE value_json END
    FROM generate_series({a}, {b}) c, trial_user_attributes WHERE trial_id <= {k}""",
    """INSERT INTO trial_intermediate_values
        (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id + c * {k}, step, intermediate_value, intermediate_value_type
    FROM generate_series({a}, {b}) c, trial_intermediate_values WHERE trial_id <= {k}""",
)
_JITTER = "((trial_id * 7919 + c * 104729) % 100003) / 1e5"


def searched(folder: Path, storage: str) -> Run:
    """Trains a SMASH network hardly at all, and ranks a few candidates on a server."""
    data = smash.load_data("digits")
    run = smash.train(data, folder / "run", epochs=1, preset="tiny", device="cpu")
    smash.search(run, random=_TEMPLATES, perturb=0, markov=0, device="cpu", storage=storage)
    return run


def grow(connection: Any, rows: int) -> dict[str, Any]:
    """Multiplies the first candidates of the only study on a server to so many."""
    begun = time.monotonic()
    (last,) = connection.execute("SELECT max(trial_id) FROM trials").fetchone()
    connection.execute("SET session_replication_role = replica")  # no checks of foreign keys
    copies = range(-(-last // _TEMPLATES), rows // _TEMPLATES)
    for start in copies[::_CHUNK]:
        end = min(start + _CHUNK, copies.stop) - 1
        for statement in _COPIES:
            connection.execute(statement.format(a=start, b=end, k=_TEMPLATES, jitter=_JITTER))
    connection.execute("SELECT setval('trials_trial_id_seq', max(trial_id)) FROM trials")
    connection.execute("VACUUM ANALYZE")
    query = "SELECT pg_database_size(current_database()), count(*) FROM trials"
    size, count = connection.execute(query).fetchone()
    seconds = round(time.monotonic() - begun)
    return {"rows": count, "filled_in_seconds": seconds, "database_gb": round(size / 1e9, 2)}


def server_seconds(server: Postgres) -> float:
    """Reads the CPU seconds that a server has spent, on connections that are closed by now."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(server: Postgres, *command: str) -> dict[str, Any]:
    """Runs Python in a process of its own; gives its seconds, of them CPU, and its peak memory."""
    peak, of_server = "0", server_seconds(server)
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output)  # noqa: S603
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (_LIMIT, _LIMIT))
        while process.poll() is None:
            # Resource usage would count the memory of this process, from which it was forked.
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = re.findall(r"VmHWM:\s+(\d+)", status)[0]
            time.sleep(0.05)
        output.seek(0)
        printed = output.read()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(spent, 1),
        "server_cpu_seconds": round(server_seconds(server) - of_server, 1),
        "peak_mb": round(int(peak) / 1e3),
        "exit_code": process.returncode,
        **(json.loads(printed) if printed.startswith("{") else {}),
    }


def commit_at_once(run: Run, known: list[Candidate], rows: int, workers: int) -> dict[str, Any]:
    """Lets workers claim a cohort each, and commit a few candidates of it."""
    gate, faults, done = threading.Barrier(workers + 1), [], []

    def work(number: int) -> None:
        try:
            study = Study(run.study_path, run.space, create=True)
            gate.wait()
            with study.claim(f"cohort {number}"):
                for step in range(_COMMITS):
                    candidate = known[number % len(known)]
                    name = f"{candidate.id}-{rows}-{workers}-{number}-{step}"
                    study.add(replace(candidate, id=name))
                    done.append(name)
        except Exception as error:  # it is the result
            faults.append(str(error)[:200])
            gate.abort()

    threads = [threading.Thread(target=work, args=[number]) for number in range(workers)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        gate.wait()
    begun, before = time.monotonic(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, spent = time.monotonic() - begun, time.process_time() - before
    return {
        "commits_a_second": round(len(done) / seconds, 1),
        "cpu_ms_a_commit": round(1000 * spent / max(1, len(done)), 1),
        "faults": sorted(set(faults)),
    }


def measure_study(options: argparse.Namespace) -> None:
    """Measures studies of growing size on one server."""
    bin_ = programs()
    if bin_ is None:
        sys.exit("there is no PostgreSQL to start: install Debian's package postgresql")
    os.environ["PGPASSWORD"] = PASSWORD
    server = Postgres(bin_)
    try:
        with tempfile.TemporaryDirectory() as folder:
            database = server.database()
            with server.connect(database) as connection:  # of 64 workers, two each
                connection.execute("ALTER SYSTEM SET max_connections = 300")
            server.stop()
            server.start()
            run = searched(Path(folder), server.url(database))
            known = Study(run.study_path, run.space).candidates()
            for rows in options.rows:
                with server.connect(database) as connection:
                    result = grow(connection, rows)
                result |= measure_commands(server, run, options.only)
                if "commits" in options.only:
                    result["commits"] = {
                        workers: commit_at_once(run, known, rows, workers)
                        for workers in (1, _WORKERS)
                    }
                keep(options, rows, result)
    finally:
        server.remove()


def measure_commands(server: Postgres, run: Run, only: list[str]) -> dict[str, Any]:
    """Measures what readers of a study do."""
    path = str(run.path)
    result: dict[str, Any] = {}
    commands = {
        "optuna": ("-c", _OPTUNA, path),
        "ranked": ("-c", _RANKED, path),
        "show": ("-m", "smash", "show", path, "--top", "10"),
        "report": ("-m", "smash", "report", path),
        "proposed": ("-c", _PROPOSED, path),
    }
    for name in only:
        if name in commands:
            result[name] = measure(server, *commands[name])
            result[name]["space"] = run.settings.space.name
            print(name, result[name], flush=True)
    page = run.path / "report.html"
    if page.is_file():
        result["report_mb"] = round(page.stat().st_size / 1e6, 1)
    return result


def measure_ray(options: argparse.Namespace) -> None:
    """Lets one driver hand out work that does nothing, to a simulated cluster on this machine."""
    import ray

    ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
    executor = RayExecutor(ray, "cpu")
    list(executor.as_completed([executor.submit(nothing) for _ in range(2 * options.workers)]))
    begun, before = time.monotonic(), time.process_time()
    for _ in range(0, options.tasks, _COHORT):
        for future in [executor.submit(nothing) for _ in range(_COHORT)]:
            future.result()
    seconds, spent = time.monotonic() - begun, time.process_time() - before
    before = time.process_time()
    futures = [executor.submit(nothing) for _ in range(options.tasks)]
    submitted = time.process_time() - before
    list(executor.as_completed(futures))
    at_once = time.process_time() - before - submitted
    ray.shutdown()
    result = {
        "tasks": options.tasks,
        "tasks_a_second": round(options.tasks / seconds),
        "cpu_ms_a_task": round(1000 * spent / options.tasks, 2),  # of the driver
        "cpu_ms_to_submit_one_of_all": round(1000 * submitted / options.tasks, 2),
        "cpu_ms_to_await_one_of_all": round(1000 * at_once / options.tasks, 2),
    }
    keep(options, options.workers, result)


def keep(options: argparse.Namespace, size: int, result: dict[str, Any]) -> None:
    """Adds the result of one size to the file."""
    document = read_json(options.out) if options.out.is_file() else {}
    known = document.setdefault(options.what, {})
    known[str(size)] = {**known.get(str(size), {}), **result}
    write_json(options.out, {**document, "environment": environment()})


def nothing() -> None:
    """Stands for scoring."""


def main() -> None:
    """Measures, and adds to the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("study", "ray"))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--only", nargs="+", default=["ranked", "show", "report", "proposed", "commits"]
    )
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=_RESULT)
    options = parser.parse_args()
    {"study": measure_study, "ray": measure_ray}[options.what](options)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
