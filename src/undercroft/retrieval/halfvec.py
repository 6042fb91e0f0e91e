"""Vectors as pgvector reads them."""

import numpy as np
import numpy.typing as npt


def render_vector(vector: npt.NDArray[np.float32]) -> str:
    """A vector's text form. Six digits are more than a half-precision float keeps."""
    return "[" + ",".join([f"{value:.6g}" for value in vector.tolist()]) + "]"
