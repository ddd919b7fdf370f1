"""What ``train.py`` and ``evaluate.py`` do with their flags."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.cli.exit import ENDINGS, leave, speaks
from smash.cli.options import announce, load, say
from smash.cli.original.flags import evaluate_parser, read, train_parser
from smash.cli.original.translate import (
    WEIGHTS,
    check_unchanged,
    data_options,
    find_run,
    is_smash,
    retrain_settings,
    run_path,
    saved_name,
    search_settings,
    space_options,
    split,
    training_settings,
)
from smash.cli.tables import print_candidates, print_child
from smash.errors import AlreadyExistsError, InvalidValueError, NotFoundError
from smash.runtime.signals import hear_termination

if TYPE_CHECKING:
    from smash.data import Data
    from smash.run.run import Run


from typing import NoReturn

_SHOWN = 5
_ONE_WORKS = "--parallel is for training a SMASH network: going on with one process"


def train(arguments: Sequence[str] | None = None) -> None:
    """``train.py``: trains a SMASH network, a network found by one, or a reference network.

    Args:
        arguments: The command line; that of this process if None.
    """
    _run("train.py", lambda: _train(arguments))


def evaluate(arguments: Sequence[str] | None = None) -> None:
    """``evaluate.py``: ranks architectures by a trained SMASH network.

    Args:
        arguments: The command line; that of this process if None.
    """
    _run("evaluate.py", lambda: _evaluate(arguments))


def _run(program: str, work: Callable[[], None]) -> None:
    try:
        with hear_termination():
            work()
    except ENDINGS as error:
        leave(program, error, program)


def _train(arguments: Sequence[str] | None) -> None:
    flags, given = read(train_parser(), arguments)
    reference = not is_smash(flags.model)
    resulting = flags.rank is not None or flags.init_from_network
    if flags.network is None:
        if resulting:
            raise InvalidValueError(
                "--rank and --init-from-SMASH are for a trained SMASH network: add --SMASH=NAME"
            )
        if not reference:
            _train_network(flags, arguments)
            return
        run = _reference_run(flags)
    else:
        run = find_run(flags.network)
        check_unchanged(run, flags, given)
    if flags.parallel:
        say(_ONE_WORKS)
    if reference:
        _train_child(run, flags, baseline=flags.model)
    elif resulting:
        _train_child(run, flags)
    else:
        _search(run, flags)


def _evaluate(arguments: Sequence[str] | None) -> None:
    flags, given = read(evaluate_parser(), arguments)
    run = find_run(flags.network)
    check_unchanged(run, flags, given)
    if flags.parallel:
        say(_ONE_WORKS)
    _search(run, flags)


def _train_network(flags: Namespace, arguments: Sequence[str] | None) -> None:
    from smash.runtime.progress import on_terminal
    from smash.training.train import train as train_network

    out = run_path(flags)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    options, notes = space_options(flags)
    if processes == 1:
        _check_place(out, flags.resume)
    announce(notes)
    data = _load(flags)
    if flags.parallel and processes == 1:
        _use_all_gpus(flags, sys.argv[1:] if arguments is None else arguments)
    run = train_network(
        data,
        out,
        epochs=flags.epochs,
        preset="original",
        options=_unusual(options),
        seed=flags.seed,
        device=flags.device,
        resume=flags.resume,
        progress=on_terminal,
        announce=announce,
        **training_settings(flags, processes),
    )
    last = run.metrics.rows()[-1]
    name, error = _error_of(flags.top5)
    if speaks():
        print(
            f"{last['split']}: {name} {last[f'val_{error}']:.2%}, loss {last['val_loss']:.4f}, "
            "the mean over random architectures, one a batch"
        )
    say(f"Next: python train.py --SMASH={_called(out)}")


def _load(flags: Namespace) -> Data:
    options = data_options(flags)
    return load(options.pop("source"), **options)


def _unusual(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not the preset's: a run says what it has of its own."""
    from smash.spaces import PRESETS

    usual = PRESETS["original"].model_dump()
    return {name: value for name, value in options.items() if value != usual[name]}


def _check_place(out: Path, resume: bool) -> None:
    """Makes sure that a run is there to resume, or that its place is free."""
    there = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if there and not resume:
        raise AlreadyExistsError(
            f"{str(out)!r} already exists and is kept: add --resume, or choose another name with "
            "--save-weights"
        )
    if resume and not there:
        raise NotFoundError(f"there is no run {str(out)!r} to resume: leave out --resume")


def _reference_run(flags: Namespace) -> Run:
    """A run for a reference network: one whose SMASH network is not trained."""
    from smash.run.run import Run
    from smash.spaces.baselines import full_name
    from smash.training.train import begin

    full_name(flags.model)  # before the folder: a wrong name leaves none behind
    out = run_path(flags)
    _check_place(out, flags.resume)
    data = _load(flags)
    if not flags.resume:
        options = _unusual(space_options(flags)[0])
        given = {"preset": "original", "options": options}
        given |= {"seed": flags.seed, "device": flags.device}
        return begin(data, out, epochs=flags.epochs, **given)
    run = Run.open(out)
    run.data = data
    return run


def _train_child(run: Run, flags: Namespace, baseline: str | None = None) -> None:
    """Trains a candidate, or a reference network."""
    from smash.config import RetrainSettings
    from smash.run.child import Child, child_name
    from smash.runtime.progress import on_terminal
    from smash.spaces.baselines import full_name
    from smash.training.retrain import retrain

    settings = retrain_settings(flags)
    # A reference network's run bears the name that was given; a candidate's child may.
    name = saved_name(flags) if baseline is None or flags.network is not None else None
    rank = flags.rank or 0
    try:
        child = retrain(
            run,
            rank,
            baseline=full_name(baseline) if baseline else None,
            name=name,
            device=flags.device,
            progress=on_terminal,
            **settings,
        )
    except AlreadyExistsError:
        if not flags.resume:
            raise
        identity = _identity(run, rank, baseline)
        child = Child.open(
            run.child_path(name or child_name(identity, RetrainSettings(**settings)))
        )
    print_child(child)
    if flags.top5:
        for of, found in child.result.items():
            print(f"{of}: top-5 error {found['top5_error']:.2%} on {found['examples']:,} examples")


def _identity(run: Run, rank: int, baseline: str | None) -> str:
    from smash.spaces.baselines import full_name
    from smash.study.study import Study

    return full_name(baseline) if baseline else Study(run.study_path).ranked()[rank].id


def _search(run: Run, flags: Namespace) -> None:
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search

    looked_at = split(flags)
    if looked_at == "test":
        say("ranking by the TEST split, as --validate-test asks: it can judge no longer")
    study = search(
        run,
        examples=len(getattr(run.data, looked_at)),
        device=flags.device,
        full=True,
        progress=on_terminal,
        **search_settings(flags),
    )
    ranked, last = study.ranked(), study.candidates()[-1]
    print_candidates(study, _SHOWN)
    if flags.top5:
        print(f"{last.split}: top-5 error of the best {ranked[0].top5_error:.2%}")
    print(f"{last.split}: error of the ensemble of all candidates {last.ensemble_error:.2%}")
    say(f"Next: python train.py --SMASH={_called(run.path)} --rank 0")


def _error_of(top5: bool) -> tuple[str, str]:
    """What is reported: in words, and in metrics."""
    return ("top-5 error", "top5_error") if top5 else ("error", "error")


def _called(path: Path) -> str:
    """What ``--SMASH`` calls a run."""
    return str(path.relative_to(WEIGHTS) if path.is_relative_to(WEIGHTS) else path)


def _use_all_gpus(flags: Namespace, arguments: Sequence[str]) -> None:
    """Starts this program anew, once a GPU, where there are several."""
    import torch

    from smash.runtime.device import choose_device

    on_gpu = choose_device(flags.device).type == "cuda"
    gpus = torch.cuda.device_count() if on_gpu else 0
    if gpus > 1:
        relaunch(gpus, sys.argv[0], arguments)
    say(f"--parallel needs several GPUs, and there are {gpus} to use: going on with one process")


def relaunch(processes: int, script: str, arguments: Sequence[str]) -> NoReturn:
    """Becomes ``torchrun``, which runs a script in several processes of this machine.

    Args:
        processes: How many.
        script: Path of the script.
        arguments: Its command line; each process sees the same.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), script, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and nothing of the user's but flags
