"""The worst mistakes of a trained child as small pictures, ``RUN/children/NAME/mistakes.json``."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Annotated

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from smash.data import Data, Split
from smash.evaluation import predict
from smash.io.records import Record, Share
from smash.run.layout import MISTAKES

_MOST = 12
_LARGEST = 96  # pixels of the longer side of a picture


class Mistake(Record):
    """An image that a child takes for another class.

    Attributes:
        label: Its class.
        predicted: The class that it is taken for.
        probability: The probability that the child gives that class.
        picture: The image, as base64 of a PNG.
    """

    label: str
    predicted: str
    probability: Share
    picture: Annotated[str, Field(pattern="^iVBORw0KGgo[A-Za-z0-9+/=]*$", max_length=2**17)]


class Mistakes(Record):
    """The mistakes on the validation split of which a child is surest, the surest first."""

    mistakes: Annotated[list[Mistake], Field(max_length=_MOST)]

    @classmethod
    def of_child(cls, child: Path) -> list[Mistake]:
        """Reads the mistakes of a child; none where they are not kept.

        Raises:
            RunStateError: The file is damaged.
        """
        path = child / MISTAKES
        return cls.read(path).mistakes if path.is_file() else []


def keep_mistakes(model: nn.Module, examples: Split, data: Data, child: Path) -> None:
    """Keeps the worst mistakes of a child, if its inputs are images of 8 bits.

    Args:
        model: Maps normalised images to logits, in eval mode.
        examples: The validation split.
        data: The data that the child was trained on.
        child: Its folder.
    """
    task = data.task
    if task.dims != 2 or task.channels not in (1, 3) or examples.stored.dtype != torch.uint8:
        return
    examples = examples.first_views
    shares, classes = predict(model, examples, data.normalise).softmax(1).max(1)
    wrong = (classes != examples.labels).nonzero().flatten()
    worst = wrong[shares[wrong].argsort(descending=True)][:_MOST]
    images = examples.subset(worst).images
    found = [
        Mistake(
            label=data.classes[int(examples.labels[index])],
            predicted=data.classes[int(classes[index])],
            probability=round(min(1.0, shares[index].item()), 4),
            picture=_encode(image),
        )
        for index, image in zip(worst.tolist(), images, strict=True)
    ]
    Mistakes(mistakes=found).write(child / MISTAKES)


def _encode(image: Tensor) -> str:
    """Encodes an image, channels×height×width in 0…255, as base64 of a PNG."""
    pixels = image.cpu().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_LARGEST, _LARGEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
