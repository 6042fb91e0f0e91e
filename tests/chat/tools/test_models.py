"""What models know remote tools by."""

import re

from undercroft.chat.tools.models import RemoteServer, function_name


def test_a_name_is_one_that_model_servers_take_and_nobody_elses() -> None:
    tools = [
        ("port", "send"),
        ("port", "send.now"),
        ("port", "send now"),
        ("port", "send_now"),
        ("port__send", "now"),
        ("port", "send__now"),
        ("port_", "now"),
        ("port", "_now"),
        ("port", "s" * 200),
        ("port", "s" * 201),
        ("p" * 64, "é"),
    ]
    names = [function_name(*tool) for tool in tools]
    assert all(re.fullmatch(r"mcp__[a-zA-Z0-9_-]{1,59}", name) for name in names)
    assert names[0] == "mcp__port__send"
    assert len(set(names)) == len(names)


def test_what_has_to_be_approved_is_everything_unless_it_is_said() -> None:
    assert RemoteServer("port", "https://tools.example.org").has_to_ask("send")
    some = RemoteServer("port", "https://tools.example.org", unasked=frozenset({"read"}))
    assert (some.has_to_ask("send"), some.has_to_ask("read")) == (True, False)
    assert not RemoteServer("port", "https://tools.example.org", unasked=None).has_to_ask("send")
