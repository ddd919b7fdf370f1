"""Exports trained children as files that run without this package, each compared with the child.

=================  ===============================================================================
``.onnx``          for ONNX Runtime; the signature is in its metadata
``.py``            Python that needs torch alone; the weights are in a ``.safetensors`` beside it
``.safetensors``   the weights, with a description of the network in ``architecture.json`` beside it
=================  ===============================================================================
"""

from smash.exporting.export import FORMATS, Export, export
from smash.exporting.signature import Signature

__all__ = ["FORMATS", "Export", "Signature", "export"]
