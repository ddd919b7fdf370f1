"""The commands ``train.py`` and ``evaluate.py``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from smash.cli.exit import HANDLED, exit_for, is_first_process, prepare_streams
from smash.cli.options import announce, load, say
from smash.cli.original.flags import read
from smash.cli.original.translate import (
    WEIGHTS,
    check_unchanged,
    data_settings,
    is_smash,
    open_named_run,
    retrain_settings,
    run_path,
    saved_name,
    search_settings,
    space_options,
    train_settings,
)
from smash.cli.tables import print_candidates, print_child
from smash.errors import InvalidValueError, NotFoundError
from smash.run.layout import check_free
from smash.runtime.signals import hear_termination

if TYPE_CHECKING:
    from smash.run.run import Run

_TOP = 5

Flags = dict[str, Any]


def train(arguments: Sequence[str] | None = None) -> None:
    """Runs ``train.py``: trains a SMASH network, a network found by one, or a reference network.

    Args:
        arguments: The command line; that of this process if None.
    """
    _run("train.py", _train, arguments)


def evaluate(arguments: Sequence[str] | None = None) -> None:
    """Runs ``evaluate.py``: ranks architectures by a trained SMASH network.

    Args:
        arguments: The command line; that of this process if None.
    """
    _run("evaluate.py", _evaluate, arguments)


def _run(
    program: str, command: Callable[[Sequence[str]], None], arguments: Sequence[str] | None
) -> None:
    prepare_streams()
    try:
        with hear_termination():
            command(sys.argv[1:] if arguments is None else arguments)
    except HANDLED as error:
        exit_for(program, error, program)


def _train(arguments: Sequence[str]) -> None:
    flags, given = read("train.py", arguments)
    baseline = None if is_smash(flags["model"]) else flags["model"]
    ranked = flags["rank"] is not None or flags["init"] == "generated"
    if flags["network"] is not None:
        run = open_named_run(flags["network"])
        check_unchanged(run, flags, given)
    elif ranked:
        raise InvalidValueError(
            "--rank and --init-from-SMASH need a trained SMASH network: add --SMASH=NAME"
        )
    elif baseline is None:
        _train_smash_network(flags, arguments)
        return
    else:
        run = _make_reference_run(flags)
    _refuse_parallel(flags)
    if baseline or ranked:
        _train_child(run, flags, baseline)
    else:
        _search(run, flags)


def _evaluate(arguments: Sequence[str]) -> None:
    flags, given = read("evaluate.py", arguments)
    if flags["network"] is None:
        raise InvalidValueError("--SMASH is missing: add --SMASH=NAME, a trained SMASH network")
    run = open_named_run(flags["network"])
    check_unchanged(run, flags, given)
    _refuse_parallel(flags)
    _search(run, flags)


def _refuse_parallel(flags: Flags) -> None:
    if flags["parallel"]:
        say("--parallel has no effect: only the training of a SMASH network uses several GPUs")


def _train_smash_network(flags: Flags, arguments: Sequence[str]) -> None:
    from smash.cli.describe import announce_resumed, announce_run
    from smash.runtime.progress import on_terminal
    from smash.training.train import train as train_network

    out = run_path(flags)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    options, notes = space_options(flags)
    if processes == 1:
        _check_out(out, flags["resume"])
    announce(notes)
    data = load(**data_settings(flags))
    if flags["parallel"] and processes == 1:
        _use_all_gpus(flags, arguments)
    run = train_network(
        data,
        out,
        preset="original",
        options=_changes(options),
        device=flags["device"],
        resume=flags["resume"],
        progress=on_terminal,
        on_begin=announce_resumed if flags["resume"] else announce_run,
        **train_settings(flags, processes),
    )
    last = run.metrics.rows()[-1]
    metric = "top5_error" if flags["rank_by"] == "top5_error" else "error"
    if is_first_process():
        print(
            f"{last['split']}: {metric.replace('top5_', 'top-5 ')} {last[f'val_{metric}']:.2%}, "
            f"loss {last['val_loss']:.4f}, the mean over random architectures, each on a part"
        )
    say(f"Next: python train.py --SMASH={_name_in_weights(out)}")


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """Selects the options that differ from the preset's, which are all that a run records."""
    from smash.spaces import PRESETS

    preset = PRESETS["original"].model_dump()
    return {name: value for name, value in options.items() if value != preset[name]}


def _check_out(out: Path, resume: bool) -> None:
    """Checks that there is a run to resume, or that nothing would be overwritten."""
    if not resume:
        check_free(out, "add --resume, or choose another name with --save-weights")
    elif not out.exists() or (out.is_dir() and not any(out.iterdir())):
        raise NotFoundError(f"run {str(out)!r} does not exist: leave out --resume")


def _make_reference_run(flags: Flags) -> Run:
    """Makes or reopens a run for a reference network, without training its SMASH network."""
    from smash.run.run import Run
    from smash.spaces.baseline_names import full_name
    from smash.training.train import begin

    full_name(flags["model"])  # refuses a wrong name before a folder is made for it
    out = run_path(flags)
    _check_out(out, flags["resume"])
    data = load(**data_settings(flags))
    if not flags["resume"]:
        return begin(
            data,
            out,
            epochs=flags["epochs"],
            preset="original",
            options=_changes(space_options(flags)[0]),
            seed=flags["seed"],
            device=flags["device"],
        )
    run = Run.open(out)
    run.data = data
    return run


def _train_child(run: Run, flags: Flags, baseline: str | None) -> None:
    """Trains a candidate or a reference network; a finished one is reported."""
    from smash.runtime.progress import on_terminal
    from smash.spaces.baseline_names import full_name
    from smash.training.retrain import retrain
    from smash.training.settings import RetrainSettings

    baseline = full_name(baseline) if baseline else None
    settings = RetrainSettings(
        rank=flags["rank"] or 0,
        baseline=baseline,
        # --save-weights names the child where it does not name the run.
        name=saved_name(flags) if flags["network"] is not None else None,
        device=flags["device"],
        **retrain_settings(flags),
        test=True,
    )
    child = retrain(run, settings, progress=on_terminal, announce=announce)
    print_child(child)
    if flags["rank_by"] == "top5_error":
        for split, result in child.result.items():
            error, examples = result.top5_error, result.examples
            print(f"{split}: top-5 error {error:.2%} on {examples:,} examples")


def _search(run: Run, flags: Flags) -> None:
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search

    if flags["split"] == "test":
        say("ranking by the TEST split (--validate-test): its error is no longer an estimate")
    study = search(
        run,
        examples=len(getattr(run.data, flags["split"])),
        device=flags["device"],
        full=True,
        progress=on_terminal,
        **search_settings(flags),
    )
    best, last = study.ranked()[0], study.candidates()[-1]
    print_candidates(study, _TOP)
    if flags["rank_by"] == "top5_error":
        print(f"{last.split}: top-5 error of the best {best.top5_error:.2%}")
    print(f"{last.split}: error of the ensemble of all candidates {last.ensemble_error:.2%}")
    say(f"Next: python train.py --SMASH={_name_in_weights(run.path)} --rank 0")


def _name_in_weights(path: Path) -> str:
    """Gives the name by which ``--SMASH`` finds a run."""
    return str(path.relative_to(WEIGHTS) if path.is_relative_to(WEIGHTS) else path)


def _use_all_gpus(flags: Flags, arguments: Sequence[str]) -> None:
    """Restarts this program with one process per GPU, if there are several."""
    import torch

    from smash.runtime.device import choose_device

    on_gpu = choose_device(flags["device"]).type == "cuda"
    gpus = torch.cuda.device_count() if on_gpu else 0
    if gpus > 1:
        relaunch(gpus, sys.argv[0], arguments)
    say(f"--parallel has no effect: it needs several GPUs, and this machine has {gpus}")


def relaunch(processes: int, script: str, arguments: Sequence[str]) -> NoReturn:
    """Replaces this process by ``torchrun``, which runs a script in several processes.

    Args:
        processes: Number of processes.
        script: Path of the script.
        arguments: Its command line; each process gets the same.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), script, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606 - without a shell, and with nothing but flags
