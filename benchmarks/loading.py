"""How long does a folder of images take to load, once and from then on?

    python benchmarks/loading.py FOLDER

The decoded images are kept in a temporary folder, not in that of the user. Each loading is a
process of its own, whose imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

_CODE = """
import sys, time
import smash
import smash.data
begun = time.monotonic()
data = smash.load_data(sys.argv[1])
seconds = time.monotonic() - begun
print(len(data.train) + len(data.val) + len(data.test), seconds)
"""


def main() -> None:
    """Loads twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    given = parser.parse_args()
    row: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("first", "again"):
            answer = subprocess.run(  # noqa: S603
                [sys.executable, "-c", _CODE, given.folder],
                env={**os.environ, "SMASH_CACHE": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            examples, seconds = answer.stdout.split()
            row |= {"examples": int(examples), f"{name}_seconds": round(float(seconds), 2)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
