"""Trained children as files that run without this package, each compared with the child.

=================  ===============================================================================
``.onnx``          for ONNX Runtime; the signature is in its metadata
``.py``            stand-alone code that needs torch alone; its weights are in a ``.safetensors``
                   beside it, under the child's own names
``.safetensors``   the weights; what they are weights of is in ``architecture.json`` beside it
=================  ===============================================================================
"""

from smash.exporting.export import FORMATS, Export, export
from smash.exporting.signature import Signature

__all__ = ["FORMATS", "Export", "Signature", "export"]
