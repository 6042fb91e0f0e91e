import math

import pytest

from tests.chat.providers.conftest import ask
from undercroft.kit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("max_output_tokens", 0),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("stop", ("",)),
        ("stop", ("x" * 257,)),
        ("stop", ("x",) * 17),
    ],
)
def test_a_request_out_of_range_names_its_field(param: str, value: object) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        ask("any", "Hello.", **{param: value})

    assert refused.value.param == param


def test_a_request_at_its_bounds_is_accepted() -> None:
    ask("any", "", max_output_tokens=1, temperature=2.0, top_p=1.0, stop=("x" * 256,) * 16)
