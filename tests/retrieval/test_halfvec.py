"""A vector's text form loses nothing that a half-precision float holds."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis.extra.numpy import arrays

from undercroft.retrieval.halfvec import render_vector


@given(arrays(np.float16, (64,), elements={"allow_nan": False, "allow_infinity": False}))
def test_every_half_survives(vector: npt.NDArray[np.float16]) -> None:
    text = render_vector(vector.astype(np.float32))
    read = [np.float16(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    assert np.array_equal(np.array(read), vector)
