"""Runtimes of exported graphs in this process or, for safety, in a process of its own.

An ONNX graph is data, but it can loop for ever, crash the runtime or name other files as its
weights. A process of its own bounds the time that a graph may take and survives a crash; what a
runtime logs stays in it. It runs this file as a script, so this file imports nothing else of the
package.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

SECONDS = 120.0
"""Time that a graph in a process of its own may take to load, or to run once."""

MOST_OUTPUTS = 2**24
"""Values that a graph in a process of its own may give at once."""

End = tuple[str, str, tuple[int | str | None, ...]]
"""An input or output of a graph: its name, its type and its extents, where they are fixed."""

Array = NDArray[np.float32]


class Session(ABC):
    """A runtime that has loaded a graph.

    Attributes:
        metadata: The metadata of the graph.
        inputs: The inputs of the graph, as far as the runtime tells.
        outputs: The outputs of the graph, as far as the runtime tells.
    """

    metadata: dict[str, str]
    inputs: list[End]
    outputs: list[End]

    @abstractmethod
    def run(self, images: Array) -> Array:
        """Runs the graph, which has one input and one output."""


class OnnxSession(Session):
    """ONNX Runtime on the CPU, in this process.

    Args:
        content: The ONNX file.
        threads: Threads that it may use.

    Raises:
        ImportError: ONNX or ONNX Runtime is not installed.
        ValueError: The model keeps its weights in another file.
        Exception: ONNX Runtime cannot load it; of its own type for each reason.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        import onnxruntime as runtime

        _refuse_external_data(content)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # Errors are raised as well.
        self._session = runtime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # The fallback is the same provider again, and prints.
        )
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        self.inputs = _ends(self._session.get_inputs())
        self.outputs = _ends(self._session.get_outputs())

    def run(self, images: Array) -> Array:
        """Runs the graph, which has one input and one output."""
        (given,), (gives,) = self.inputs, self.outputs
        (logits,) = self._session.run([gives[0]], {given[0]: images})
        return np.asarray(logits, np.float32)


class ExecutorchSession(Session):
    """ExecuTorch on the CPU, in this process, for one example at a time; it logs much.

    Args:
        content: The program; its metadata are methods that return text.
        threads: Ignored.

    Raises:
        ImportError: ExecuTorch is not installed.
        RuntimeError: It cannot load the program.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        from executorch.runtime import Runtime

        # A method does not keep the program alive that it is in.
        self._program = Runtime.get().load_program(content)
        names = self._program.method_names - {"forward"}
        self.metadata = {name: self._program.load_method(name).execute([])[0] for name in names}
        self.inputs, self.outputs = [], []
        self._forward = self._program.load_method("forward")

    def run(self, images: Array) -> Array:
        """Runs the program once for each example."""
        import torch

        outputs = [
            self._forward.execute([example])[0].clone() for example in torch.tensor(images).split(1)
        ]
        return torch.cat(outputs).numpy()


class IsolatedSession(Session):
    """A session in a process of its own, which ends if the graph takes longer than `SECONDS`.

    Args:
        content: The file of the graph.
        threads: Threads that the runtime may use.
        runtime: A key of `RUNTIMES`.

    Raises:
        ImportError: The runtime is not installed.
        RuntimeError: The graph cannot be loaded, takes too long or crashes the process.
    """

    def __init__(self, content: bytes, threads: int, runtime: str = "onnx") -> None:
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        with TemporaryDirectory() as folder:  # A working directory without files.
            self._process = subprocess.Popen(  # noqa: S603 # This file itself.
                [sys.executable, "-I", "-B", __file__, json.dumps(folders), str(threads), runtime],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
            )
            weakref.finalize(self, _end, self._process)
            self._requests: IO[bytes] = cast(IO[bytes], self._process.stdin)
            self._replies: IO[bytes] = cast(IO[bytes], self._process.stdout)
            described, _ = self._ask({"seconds": SECONDS}, content)
        self.metadata = described["metadata"]
        self.inputs, self.outputs = (
            [(name, kind, tuple(shape)) for name, kind, shape in described[ends]]
            for ends in ("inputs", "outputs")
        )

    def run(self, images: Array) -> Array:
        """Runs the graph, which has one input and one output."""
        request = {"seconds": SECONDS, "shape": images.shape}
        reply, content = self._ask(request, np.ascontiguousarray(images).tobytes())
        return np.frombuffer(content, np.float32).reshape(reply["shape"])

    def _ask(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        start = time.monotonic()
        try:
            _send(self._requests, request, content)
            reply = _receive(self._replies)
        except BrokenPipeError:
            reply = None
        if reply is None:
            code = self._process.wait()
            if time.monotonic() - start >= SECONDS:
                raise RuntimeError(f"it took longer than {SECONDS:g} s and was stopped")
            raise RuntimeError(f"the process that ran it ended with code {code}")
        if "missing" in reply[0]:
            raise ImportError(name=reply[0]["missing"])
        if "error" in reply[0]:
            raise RuntimeError(reply[0]["error"])
        return reply


RUNTIMES: dict[str, Callable[[bytes, int], Session]] = {
    "onnx": OnnxSession,
    "executorch": ExecutorchSession,
}
"""Runtimes by name."""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(BrokenPipeError), process:  # Closes its pipes and waits for it.
        pass


def _ends(ends: Any) -> list[End]:
    return [(end.name, end.type, tuple(end.shape)) for end in ends]


def _refuse_external_data(content: bytes) -> None:
    import onnx

    for tensor in _tensors(onnx.load_model_from_string(content), onnx.TensorProto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError("its weights are in another file, and it must hold them itself")


def _tensors(message: Any, kind: type) -> Iterator[Any]:
    """Gives all tensors in a message: of graphs, attributes, functions and sparse tensors."""
    if isinstance(message, kind):
        yield message
        return
    for each in messages_in(message):
        yield from _tensors(each, kind)


def messages_in(message: Any) -> Iterator[Any]:
    """Gives the messages in the fields of a message."""
    from google.protobuf.message import Message

    for described, value in message.ListFields():
        if described.message_type is not None:
            yield from [value] if isinstance(value, Message) else value


def _send(stream: IO[bytes], header: dict[str, Any], content: bytes = b"") -> None:
    line = json.dumps({**header, "bytes": len(content)}).encode()
    stream.write(line + b"\n" + content)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Reads what `_send` wrote; None where the other process has ended."""
    if not (line := stream.readline()):
        return None
    header = json.loads(line)
    content = stream.read(header["bytes"])
    return (header, content) if len(content) == header["bytes"] else None


def _serve() -> None:
    """Answers one request to load a graph, then requests to run it."""
    sys.path[:], threads = json.loads(sys.argv[1]), int(sys.argv[2])
    start = RUNTIMES[sys.argv[3]]
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not mix with replies.
    session: Session | None = None
    while (request := _receive(requests)) is not None:
        header, content = request
        # It ends the process even while the graph runs and holds the interpreter's lock, and also
        # after the process that asked has gone.
        faulthandler.dump_traceback_later(header["seconds"], exit=True)
        try:
            if session is None:
                session = start(content, threads)
                names = ("metadata", "inputs", "outputs")
                _send(replies, {name: getattr(session, name) for name in names})
                continue
            images = np.frombuffer(content, np.float32).reshape(header["shape"])
            logits = session.run(images)
            if logits.size > MOST_OUTPUTS:
                raise ValueError(f"it gives {logits.size:,} values at once")
            _send(replies, {"shape": logits.shape}, np.ascontiguousarray(logits).tobytes())
        except ImportError as error:
            _send(replies, {"missing": error.name})
        except Exception as error:  # ONNX Runtime has a type for each reason.
            _send(replies, {"error": str(error)})
        finally:
            faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    _serve()
