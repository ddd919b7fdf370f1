"""Runs the code of the documentation with smaller numbers, and parses its commands."""

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
from benchmarks import tables
from smash.cli.main import app
from smash.cli.original import flags
from smash.spaces import GROUP
from tests.answers import call
from tests.documents import PAGES, ROOT, Block, blocks, spans

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language in ("sh", "console")]
PAGES_OF_PYTHON = {"README.md", "index.md", "trust.md", "data.md", "spaces.md", "deploy.md"}
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
SPACE = {"depths": 1}  # of `mobile`
ADDED: Mapping[str, Mapping[str, Any]] = {
    "smash.train": {"options": SPACE},
    "smash.search": {"perturb": 1, "markov": 1},
    "smash.retrain": {"epochs": 1},
}
COMMAND: Any = typer.main.get_command(app)


def page(name: str) -> list[Block]:
    """Blocks of a page."""
    (path,) = (each for each in PAGES if each.name == name and each.parent.name != "reference")
    return blocks(path)


def python(name: str) -> list[str]:
    """Blocks of Python of a page."""
    return [block.text for block in page(name) if block.language == "python" and not block.reason]


class _Smaller(ast.NodeTransformer):
    """Replaces arguments such as ``epochs=20``, and adds some, so that a call takes no time."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        given = {keyword.arg for keyword in node.keywords}
        added = ADDED.get(ast.unparse(node.func), {})
        if "space" in given:
            added = {}
        for name, value in added.items():
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


# Pages are read


def test_tables_and_plots_are_those_of_the_results():
    differing = [
        str(path.relative_to(ROOT))
        for path, text in tables.documents().items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert not differing, "run 'python -m benchmarks.tables'"


def test_blocks_are_of_kinds_that_a_test_covers():
    for path in PAGES:
        fences = re.findall(r"^\s*(?:```|~~~)", path.read_text(), flags=re.MULTILINE)
        assert len(fences) == 2 * len(blocks(path)), f"{path.name}: a block is not found"
    assert {block.language for block in BLOCKS} <= {"python", "sh", "console", "text", "toml"}
    hidden = [str(b) for b in BLOCKS if b.language == "text" and re.search("^\\$ ", b.text, re.M)]
    assert not hidden, f"commands in blocks of 'text': {hidden}"
    made = [str(b) for b in BLOCKS if b.language == "console" and not b.transcript and not b.reason]
    assert not made, f"consoles without '<!-- transcript -->': {made}"
    unseen = {b.page.name for b in BLOCKS if b.language == "python" and not b.reason}
    assert not unseen - PAGES_OF_PYTHON, "pages whose Python no test runs"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.transcript], ids=str)
def test_transcript_shows_the_output_of_each_command(block):
    for command in block.text.split("$ ")[1:]:
        _, _, output = command.partition("\n")
        assert output.strip(), f"{block}: run 'python -m benchmarks.transcripts {block.page}'"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_readme_shows_the_python_of_the_first_page():
    assert python("README.md") == python("index.md")[:1]


def test_entry_points_are_of_the_group_that_spaces_are_looked_for_in():
    (block,) = (block for block in BLOCKS if block.language == "toml")
    assert [*tomllib.loads(block.text)["project"]["entry-points"]] == [GROUP]


def test_reference_has_every_public_name():
    text = "".join(path.read_text() for path in PAGES if path.parent.name == "reference")
    shown = set(re.findall(r"^::: (\S+)", text, flags=re.MULTILINE))
    homes = {name: getattr(getattr(smash, name), "__module__", "smash") for name in smash.__all__}
    # A page of a package shows what its modules define.
    assert not {
        name
        for name, home in homes.items()
        if not {f"smash.{name}", home, home.rpartition(".")[0]} & shown
    }


# Commands are parsed


class _ParsedError(Exception):
    """Raised once a command line is parsed, so that the command does not begin."""


def parse_smash(words: Sequence[str]) -> None:
    """Parses the arguments of ``smash`` without running the command."""
    command: Any = COMMAND
    context = command.make_context("smash", list(words))
    while isinstance(command, typer.core.TyperGroup):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


def parse_benchmark(module: str, words: Sequence[str], patch: pytest.MonkeyPatch) -> None:
    """Parses the arguments of a benchmark without running it."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any) -> None:
        parse(self, *args)
        raise _ParsedError

    patch.setattr(argparse.ArgumentParser, "parse_args", stop)
    patch.setattr("sys.argv", [module, *words])
    for name in [each for each in sys.modules if each.startswith(module)]:
        patch.delitem(sys.modules, name)  # runpy warns of modules that another test imported
    with pytest.raises(_ParsedError):
        runpy.run_module(module, run_name="__main__")


def check_extras(requirements: Sequence[str]) -> None:
    """Checks requirements such as ``smash-nas[onnx]``, or ``.[onnx]`` in a clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in requirements:
        name, _, extra = requirement.removesuffix("]").partition("[")
        assert name in (project["name"], "."), requirement
        assert not extra or extra in project["optional-dependencies"], requirement


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_are_parsed_by_their_programs(block, monkeypatch):
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
        elif program == "rm":  # before a transcript, of the images that it begins with
            assert all(word.startswith("photos/") for word in words)
        elif (program, words[0]) == ("pip", "install"):
            check_extras(words[1:])
        else:
            assert block.reason, f"{block}: nothing parses {program!r}; say why it is not run"


def _commands(name: str = "smash", command: Any = COMMAND) -> Iterator[tuple[str, Any]]:
    yield name, command
    for each, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {each}", inner)


OPTIONS = {
    name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    for name, command in _commands()
}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_options_within_sentences_exist(path):
    everywhere = {"--help", "--nproc-per-node"}.union(*OPTIONS.values())
    everywhere |= {name for flag in flags.FLAGS for name in flag.names.split()}
    for span in spans(path):
        command = re.match(r"(smash(?: data)? [a-z]+)\b", span)
        if span.startswith("python -m benchmarks."):
            source = (ROOT / span.split()[2].replace(".", "/")).with_suffix(".py")
            source = source if source.is_file() else source.with_suffix("") / "__main__.py"
            known = {*re.findall(r'"(--[a-z-]+)"', source.read_text())}
        elif command:
            assert command[1] in OPTIONS, f"{path.name}: {span}"
            known = OPTIONS[command[1]] | {"--help"}
        else:
            known = everywhere
        for option in re.findall(r"(?<![\w-])--[a-zA-Z][a-zA-Z0-9-]+", span):
            assert option in known, f"{path.name}: {span!r} has {option}, which does not exist"


# Code is run


def test_page_on_spaces_runs(tmp_path, monkeypatch):
    space, *rest = python("spaces.md")
    (tmp_path / "tutorial.py").write_text(space)  # another process looks for its classes
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import tutorial  # type: ignore[import-not-found]

    try:
        for block in rest:
            execute(block, vars(tutorial))
    finally:
        smash.SPACES.pop("chain", None)
        sys.modules.pop("tutorial")
    assert smash.Run.open("runs/chain").trained


def test_page_on_deploying_runs(exported, tmp_path, monkeypatch, capsys):
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
    """A folder with 40 images in each of three classes."""
    folder = tmp_path_factory.mktemp("workplace")
    digits = load_digits()
    for label, name in enumerate(("frog", "ship", "truck")):
        (folder / "photos" / name).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][:40]):
            image = Image.fromarray((pixels * 15.9).astype(np.uint8))
            image.save(folder / "photos" / name / f"{number:04}.jpg")
    return folder


def smaller(command: str, words: Sequence[str]) -> list[str]:
    """Replaces numbers of a command, and adds those that it would take by default."""
    parsed, rest = [], iter(words)
    for word in rest:
        if word.removeprefix("--") in SMALLER and word.startswith("--"):
            next(rest)
        else:
            parsed.append(word)
    names = {"train": ["epochs"], "retrain": ["epochs"], "correlate": ["train", "epochs"]}
    names["search"] = ["random", "perturb", "markov", "examples"]
    names["compare"] = ["epochs"]
    added = [part for name in names.get(command, []) for part in (f"--{name}", f"{SMALLER[name]}")]
    if command == "train" and "--space" not in words:
        added += [part for item in SPACE.items() for part in ("-o", "{}={}".format(*item))]
    if command == "compare":
        added += ["--seeds", "1", "--no-median", "--families", "cnn"]
    return parsed + added


def test_commands_of_the_readme_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    ran = []
    (block,) = (block for block in page("README.md") if "smash data check" in block.text)
    for program, *words in block.commands:
        assert program == "smash"
        assert call(*smaller(words[0], words)) == 0, words
        ran.append(words[0])
    assert ran == ["data", "train", "search", "retrain", "compare", "predict", "report"]
    assert (workplace / "runs" / "mine" / "report.html").is_file()


def test_python_of_the_first_pages_runs(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    names: dict[str, Any] = {}
    for source in [*python("index.md"), *python("trust.md"), *python("data.md")]:
        execute(source, names)
    assert names["child"].result["val"].examples == 153
    assert names["trust"].n == SMALLER["train"]
