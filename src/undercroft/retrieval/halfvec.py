"""Vectors as pgvector reads and writes them."""

import numpy as np
import numpy.typing as npt


def render_vector(vector: npt.NDArray[np.float32]) -> str:
    """A vector's text form. Six digits are more than a half-precision float keeps."""
    return "[" + ",".join([f"{value:.6g}" for value in vector.tolist()]) + "]"


def read_vector(text: str) -> npt.NDArray[np.float32]:
    """A vector from its text form."""
    return np.array(text.strip("[]").split(","), dtype=np.float32)
