"""Runs the commands that the documentation shows, and writes what they print.

    python -m benchmarks.transcripts                    # all pages
    python -m benchmarks.transcripts docs/deploy.md     # one

A transcript is a block of ``console`` after ``<!-- transcript -->``. Its lines that begin with a
dollar sign are run one after the other, in a new folder for each page; all other lines are
replaced, and progress is left out. ``<!-- transcript after: COMMAND; COMMAND -->`` runs commands
before them whose output is not shown. The folder has ``photos`` in it, images of three of
scikit-learn's digits by class. Pages that begin with the same commands share their output.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
TRANSCRIPT = re.compile(
    r"(<!-- transcript(?: after: ([^>]*))? -->\n```console\n)(.*?)(?=^```$)", re.DOTALL | re.M
)
_PROGRESS = re.compile(r"[\w .,:-]+ \d+/\d+(, |  )")
CLASSES = ("zero", "one", "two")


def make_photos(folder: Path) -> None:
    """Writes images of three digits, one of them twice and one of them cut off."""
    digits = load_digits()
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label]):
            image = Image.fromarray((pixels * 15.9).astype(np.uint8))
            image.save(folder / name / f"{number:04}.png")
    whole = (folder / "one" / "0001.png").read_bytes()
    (folder / "two" / "copy.png").write_bytes(whole)
    (folder / "two" / "broken.png").write_bytes(whole[:50])


def run(command: str, folder: Path) -> str:
    """Runs a command and gives what it prints.

    Raises:
        SystemExit: The command fails with another exit code than 2.
    """
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable  # many systems have `python3` alone
    elif words[0] == "smash":
        words = [sys.executable, "-m", "smash", *words[1:]]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(  # noqa: S603 - commands of our own pages
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 2):
        sys.exit(f"{command!r} ended with {done.returncode}:\n{done.stdout}")
    lines = [line.rstrip() for line in done.stdout.splitlines() if not _PROGRESS.match(line)]
    return "\n".join(lines).strip("\n")


class Workplaces:
    """Folders by the commands that were run in them, so that no command is run twice.

    Args:
        folder: Where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outputs: dict[tuple[str, ...], str] = {}
        make_photos(self._path(()) / "photos")

    def _path(self, commands: tuple[str, ...]) -> Path:
        number = [(), *self._outputs].index(commands)
        return self._folder / str(number)

    def run(self, commands: tuple[str, ...]) -> str:
        """Runs the last of some commands where the others were run."""
        if commands not in self._outputs:
            before = self._path(commands[:-1])
            self._outputs[commands] = ""
            after = shutil.copytree(before, self._path(commands))
            self._outputs[commands] = run(commands[-1], after)
        return self._outputs[commands]


def written_anew(page: str, workplaces: Workplaces) -> str:
    """Replaces what commands print in a page."""
    history: tuple[str, ...] = ()

    def replaced(found: re.Match[str]) -> str:
        nonlocal history
        head, hidden, shown = found.groups()
        for command in re.split(r";\s*", hidden) if hidden else []:
            history += (command,)
            workplaces.run(history)
        parts = []
        for command in re.findall(r"^\$ (.*)$", shown, flags=re.MULTILINE):
            history += (command,)
            parts.append(f"$ {command}\n{workplaces.run(history)}".strip())
        return head + "\n\n".join(parts) + "\n"

    return TRANSCRIPT.sub(replaced, page)


def main() -> None:
    """Runs the commands of pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pages", nargs="*", type=Path, help="by default README.md and docs/*.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workplaces = Workplaces(Path(folder))
        for path in options.pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            page = path.read_text(encoding="utf-8")
            if TRANSCRIPT.search(page):
                print(path, flush=True)
                path.write_text(written_anew(page, workplaces), encoding="utf-8")


if __name__ == "__main__":
    main()
