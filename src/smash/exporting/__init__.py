"""Export of trained children to files that run without this package.

=================  ===============================================================================
``.onnx``          for ONNX Runtime; the signature is in its metadata
``.pte``           a program of ExecuTorch, for one example at a time
``.pt2``           a program of `torch.export`, which torch runs
``.py``            Python that needs torch alone; the weights are in a ``.safetensors`` beside it
``.safetensors``   the weights, with a description of the network in the metadata
=================  ===============================================================================
"""
