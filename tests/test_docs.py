"""What the documents show is run: with smaller numbers, or else read by the real parsers."""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits

import smash
from smash.cli.main import app
from smash.cli.original import flags
from smash.spaces import GROUP
from tests.answers import call
from tests.documents import PAGES, ROOT, Block, blocks, spans

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language in ("sh", "console")]
PAGES_OF_PYTHON = {"README.md", "quickstart.md", "trust.md", "data.md", "own-space.md", "deploy.md"}
SMALLER: Mapping[str, float] = {
    "epochs": 1,
    "random": 3,
    "perturb": 1,
    "markov": 1,
    "train": 3,
    "candidates": 5,
    "retrain_epochs": 1,
    "examples": 50,
    "minutes": 0.01,
}

SPACE = {"depth": 1, "max_width": 16}  # of memory banks
ADDED: Mapping[str, Mapping[str, Any]] = {
    "smash.train": {"options": SPACE},
    "smash.search": {"perturb": 1, "markov": 1},
    "smash.retrain": {"epochs": 1},
}


def page(name: str) -> list[Block]:
    """The blocks of a page."""
    (path,) = (each for each in PAGES if each.name == name and each.parent.name != "reference")
    return blocks(path)


def python(name: str) -> list[str]:
    """The pieces of Python of a page."""
    return [block.text for block in page(name) if block.language == "python" and not block.reason]


class _Smaller(ast.NodeTransformer):
    """Gives arguments such as ``epochs=20``, and some that are left out, values of no time."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        given = {one.arg for one in node.keywords}
        for name, value in ADDED.get(ast.unparse(node.func), {}).items():
            if name not in given:
                node.keywords.append(ast.keyword(name, ast.parse(repr(value), mode="eval").body))
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        smaller = SMALLER.get(node.arg or "")
        if smaller is not None and isinstance(node.value, ast.Constant):
            node.value = ast.copy_location(ast.Constant(smaller), node.value)
        return node


def execute(source: str, names: dict[str, Any]) -> None:
    """Runs a piece of Python with smaller numbers."""
    tree = ast.fix_missing_locations(_Smaller().visit(ast.parse(source)))
    exec(compile(tree, "<page>", "exec"), names)  # noqa: S102


# Reading without running


def test_every_block_is_of_a_kind_that_is_looked_at():
    for path in PAGES:
        fences = re.findall(r"^\s*(?:```|~~~)", path.read_text(), flags=re.MULTILINE)
        assert len(fences) == 2 * len(blocks(path)), f"{path.name}: a block that is not found"
    known = {"python", "sh", "console", "text", "toml"}
    assert {block.language for block in BLOCKS} <= known, [
        str(block) for block in BLOCKS if block.language not in known
    ]
    hidden = [str(b) for b in BLOCKS if b.language == "text" and re.search("^\\$ ", b.text, re.M)]
    assert not hidden, f"commands in blocks of 'text': call them 'console': {hidden}"
    unseen = {
        b.page.name for b in BLOCKS if b.language == "python" and not b.reason
    } - PAGES_OF_PYTHON
    assert not unseen, f"pages whose Python no test runs: {unseen}"


COMMAND: Any = typer.main.get_command(app)


def parse_smash(words: Sequence[str]) -> None:
    """Reads the arguments of ``smash`` as the command does, and stops before it begins."""
    command: Any = COMMAND
    context = command.make_context("smash", list(words))
    while isinstance(command, typer.core.TyperGroup):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


class _Read(Exception):  # noqa: N818 # what is asked for, no error
    """Raised once a command line is read, so that nothing follows."""


def parse_benchmark(module: str, words: Sequence[str], patch: pytest.MonkeyPatch) -> None:
    """Reads the arguments of a benchmark with its own parser, and stops it there."""
    read = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any) -> None:
        read(self, *args)
        raise _Read

    patch.setattr(argparse.ArgumentParser, "parse_args", stop)
    patch.setattr("sys.argv", [module, *words])
    with pytest.raises(_Read):
        runpy.run_module(module, run_name="__main__")


def check_extras(requirements: Sequence[str]) -> None:
    """Checks requirements such as ``smash-nas[onnx]``, or ``.[onnx]`` in a clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in requirements:
        name, _, extra = requirement.removesuffix("]").partition("[")
        assert name in (project["name"], "."), requirement
        assert not extra or extra in project["optional-dependencies"], requirement


def test_the_entry_points_of_a_package_are_those_that_are_looked_for():
    (block,) = (block for block in BLOCKS if block.language == "toml")
    points = tomllib.loads(block.text)["project"]["entry-points"]
    assert [*points] == [GROUP]
    assert [*points[GROUP]] == ["chain"]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_are_read_by_the_real_parsers(block, monkeypatch):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for program, *words in block.commands:
        if program == "smash":
            parse_smash(words)
        elif program == "torchrun" and "smash" in words:
            parse_smash(words[words.index("smash") + 1 :])
        elif program == "python" and words[0] in ("train.py", "evaluate.py"):
            flags.read(words[0], words[1:])
        elif program == "python" and words[1].startswith("benchmarks."):
            parse_benchmark(words[1], words[2:], monkeypatch)
        elif program == "make":
            assert {*words} <= {*targets}
        elif (program, words[0]) == ("pip", "install"):
            check_extras(words[1:])
        else:
            assert block.reason, f"{block}: nothing reads {program!r}; say why it is not run"


def _commands() -> Iterator[tuple[str, Any]]:
    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for each, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {each}", inner)

    return below("smash", COMMAND)


OPTIONS = {
    name: {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for name, command in _commands()
}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_options_within_sentences_are_there(path):
    everywhere = {"--help", "--nproc-per-node"}.union(*OPTIONS.values())
    everywhere |= {name for flag in flags.FLAGS for name in flag.names.split()}
    for span in spans(path):
        found = re.match(r"(smash(?: data)? [a-z]+)\b", span)
        if span.startswith("python -m benchmarks."):
            source = (ROOT / span.split()[2].replace(".", "/")).with_suffix(".py")
            source = source if source.is_file() else source.with_suffix("") / "__main__.py"
            known = {*re.findall(r'"(--[a-z-]+)"', source.read_text())}
        elif found:
            assert found[1] in OPTIONS, f"{path.name}: {span}"
            known = OPTIONS[found[1]] | {"--help"}
        else:
            known = everywhere
        for option in re.findall(r"(?<![\w-])--[a-zA-Z][a-zA-Z0-9-]+", span):
            assert option in known, f"{path.name}: {span!r} has {option}, which is not there"


def test_the_reference_has_every_public_name():
    text = "".join(path.read_text() for path in PAGES if path.parent.name == "reference")
    shown = set(re.findall(r"^::: (\S+)", text, flags=re.MULTILINE))
    missing = {
        name for name in smash.__all__ if f"smash.{name}" not in shown and _home(name) not in shown
    }
    assert not missing


def _home(name: str) -> str:
    return str(getattr(smash, name).__module__)


# Running


def test_the_tutorial_on_spaces_runs(tmp_path, monkeypatch):
    space, *rest = python("own-space.md")
    (tmp_path / "tutorial.py").write_text(space)  # another process is to find its classes
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import tutorial  # type: ignore[import-not-found]

    try:
        for block in rest:
            execute(block, vars(tutorial))
    finally:
        smash.SPACES.pop("chain", None)
        sys.modules.pop("tutorial")
    run = smash.Run.open("runs/chain")
    assert run.trained
    with pytest.raises(smash.SmashError, match=r"added to smash\.SPACES"):
        _ = run.space


def test_the_tutorial_shows_the_space_that_the_tests_use():
    used = (ROOT / "tests" / "spaces" / "chain.py").read_text()
    assert python("own-space.md")[0].strip() == used[used.index("from __future__") :].strip()


def test_the_page_on_deploying_runs(exported, tmp_path, monkeypatch, capsys):
    """With the digits in place of photographs."""
    shutil.copy(exported / "m.onnx", tmp_path / "model.onnx")
    shutil.copy(exported / "m.py", tmp_path / "model.py")
    shutil.copy(exported / "m.safetensors", tmp_path)
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        for block in python("deploy.md"):
            execute(block, {"__name__": "page"})
    finally:
        sys.modules.pop("model", None)
    by_smash, by_onnx, by_torch = capsys.readouterr().out.splitlines()
    assert by_smash.startswith(f"photo.png (('{by_onnx}', ")
    assert by_torch in map(str, range(10))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with 40 pictures in each of three classes: photographs, for a test."""
    folder = tmp_path_factory.mktemp("workplace")
    digits = load_digits()
    for label, name in enumerate(("frog", "ship", "truck")):
        (folder / "photos" / name).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][:40]):
            image = Image.fromarray((pixels * 15.9).astype(np.uint8))
            image.save(folder / "photos" / name / f"{number:04}.jpg")
    return folder


def smaller(command: str, words: Sequence[str]) -> list[str]:
    """The words of a command, with smaller numbers, and those that it would take by default."""
    parsed, rest = [], iter(words)
    for word in rest:
        if word.removeprefix("--") in SMALLER and word.startswith("--"):
            next(rest)
        else:
            parsed.append(word)
    names = {"train": ["epochs"], "retrain": ["epochs"], "correlate": ["train", "epochs"]}
    names["search"] = ["random", "perturb", "markov", "examples"]
    added = [part for name in names.get(command, []) for part in (f"--{name}", f"{SMALLER[name]}")]
    if command == "train":
        added += [part for item in SPACE.items() for part in ("-o", "{}={}".format(*item))]
    return parsed + added


def test_the_commands_of_the_quickstart_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    ran = []
    for block in page("quickstart.md"):
        for program, *words in block.commands if block.language == "sh" else []:
            if program == "smash":
                assert call(*smaller(words[0], words)) == 0, words
                ran.append(words[0])
    assert ran == ["data", "train", "search", "show", "retrain", "predict", "report"]
    assert (workplace / "runs" / "mine" / "report.html").is_file()


def test_the_python_of_the_quickstart_and_after_it_runs(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    names = {}
    for source in [*python("quickstart.md"), *python("trust.md"), *python("data.md")]:
        execute(source, names)
    assert names["child"].result["test"]["examples"] == 269
    assert names["trust"].n == SMALLER["train"]


def test_the_python_of_the_readme_is_that_of_the_quickstart():
    assert python("README.md") == python("quickstart.md")[:1]
