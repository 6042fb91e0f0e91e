"""onnxruntime behind a typed door: the library carries no types of its own."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import onnxruntime


class Session(Protocol):
    """A loaded graph. Runs on the calling thread and its own helpers, with the GIL released."""

    def run(
        self, output_names: list[str], input_feed: dict[str, npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.float32]]:
        """The named outputs for the given inputs."""
        ...


class DescribedSession(Session, Protocol):
    """One that says what it takes and makes: for graphs that are not ours."""

    def input_names(self) -> list[str]:
        """Of the inputs that the graph wants."""
        ...

    def output_names(self) -> list[str]:
        """Of what it makes."""
        ...


class _OnnxSession:
    """The library's session, with names in place of its descriptions."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(
        self, output_names: list[str], input_feed: dict[str, npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.float32]]:
        return cast("list[npt.NDArray[np.float32]]", self._session.run(output_names, input_feed))

    def input_names(self) -> list[str]:
        return [str(each.name) for each in self._session.get_inputs()]

    def output_names(self) -> list[str]:
        return [str(each.name) for each in self._session.get_outputs()]


def load_session(model: Path, threads: int) -> DescribedSession:
    """Load a graph for the processor.

    Args:
        model: The ONNX file.
        threads: Processor cores that one run may use.
    """
    # A service for private documents reports to nobody.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Memory planned for one shape is kept for ever, and here every batch has its own shape.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Threads that spin between operators take the core that PostgreSQL or the event loop needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _OnnxSession(
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    )
