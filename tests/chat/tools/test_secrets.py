"""What may be secret of how a server is asked is taken out, and words that it may say for itself are not."""

import pytest

from undercroft.chat.tools.models import Outcome, RemoteServer
from undercroft.chat.tools.secrets import Secrets


@pytest.mark.parametrize(
    ("url", "text", "left"),
    [
        ("https://a.example/mcp/k-12345678/sse", "at k-12345678, mcp", "at [secret], mcp"),
        ("https://a.example/mcp?key=a%2Bb45678", "a+b45678 a%2Bb45678", "[secret] [secret]"),
        ("https://a.example/mcp?key=a+b45678", "a b45678", "[secret]"),
        ("https://a.example/weather-forecast/", "weather-forecast", "weather-forecast"),
        ("https://a.example/abcdefghijklmnopqrst", "abcdefghijklmnopqrst", "[secret]"),
        ("https://a.example/v1", "v1", "v1"),
        ("https://[", "nothing", "nothing"),
    ],
)
def test_parts_of_a_url_are_left_out(url: str, text: str, left: str) -> None:
    assert Secrets(RemoteServer("port", url)).left_out(text) == left


def test_values_of_headers_are_left_out_with_and_without_their_scheme() -> None:
    headers = {"Authorization": "Bearer onlyletters", "X-Short": "brief"}
    secrets = Secrets(RemoteServer("port", "https://a.example/mcp", headers))
    outcome = Outcome(error="Bearer onlyletters, onlyletters, brief")
    assert secrets.left_out_of_outcome(outcome) == Outcome(error="[secret], [secret], brief")
