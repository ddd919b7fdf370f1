"""Converts trained children to TFLite in float32 and int8, and evaluates both in its interpreter.

    python -m benchmarks.tflite CHILD…

It follows the recipe in ``docs/deploy.md`` and needs its packages. The children may be those of
`benchmarks.devices`. The result is ``results/tflite.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

import smash
from smash.exporting.evaluation import evaluate_exported
from smash.exporting.program import read_program
from smash.exporting.quantisation import calibration_images

RESULT = Path(__file__).parent / "results" / "tflite.json"


def convert(path: Path, images: Tensor) -> tuple[Path, Path]:
    """Writes a ``.pt2`` as ``.tflite`` in float32 and in int8, beside it.

    Args:
        path: The program.
        images: Examples that set the ranges of int8, as the program takes them.
    """
    litert_torch = import_module("litert_torch")
    quantizer = import_module("ai_edge_quantizer.quantizer")
    recipe = import_module("ai_edge_quantizer.recipe")
    large, small = path.with_suffix(".tflite"), path.with_suffix(".int8.tflite")
    network = torch.export.load(path).module()
    litert_torch.convert(network, (images[:1],)).export(str(large))
    quantised = quantizer.Quantizer(str(large), recipe.static_wi8_ai8())
    examples = [{"args_0": image.numpy()} for image in images.split(1)]
    ranges = quantised.calibrate({"serving_default": examples})
    quantised.quantize(ranges).export_model(str(small))
    return large, small


def interpreted(path: Path) -> Callable[[Tensor], Tensor]:
    """Gives what runs a ``.tflite`` for one example at a time, and quantises for it."""
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run_one(image: Any) -> Any:
        if given["dtype"] == np.int8:
            scale, zero = given["quantization"]
            image = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        logits = interpreter.get_tensor(gives["index"])
        if gives["dtype"] == np.int8:
            scale, zero = gives["quantization"]
            logits = (logits.astype(np.float32) - zero) * np.float32(scale)
        return logits

    return lambda images: torch.tensor(
        np.concatenate([run_one(x) for x in images.numpy()[:, None]])
    )


def measure(child: smash.Child) -> dict[str, Any]:
    """Gives the errors, the sizes and the largest differences of logits."""
    data = child.run.data.to("cpu")
    images = calibration_images(data)
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.pt2")
        smash.export(child, path)
        network, _ = read_program(path)
        files = convert(path, images)
        sizes = [file.stat().st_size for file in files]
        forms = [network, *map(interpreted, files)]
        wanted = network(images)
        return {
            "name": child.run.path.name,
            "input": [data.task.channels, *data.task.size],
            "params": child.record.params,
            "largest_logit": wanted.abs().max().item(),
            "differences": [(form(images) - wanted).abs().max().item() for form in forms[1:]],
            "errors": [evaluate_exported(form, data).error for form in forms],
            "judged": len(data.val),
            "bytes": sizes,
        }


def main() -> None:
    """Converts the children and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("children", nargs="+", type=Path, help="folders RUN/children/NAME")
    for path in parser.parse_args().children:
        row = measure(smash.Child.open(path))
        kept = json.loads(RESULT.read_text()) if RESULT.is_file() else []
        rows = {each["name"]: each for each in (*kept, row)}
        RESULT.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
