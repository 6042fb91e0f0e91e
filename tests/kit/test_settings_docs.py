"""``docs/settings.md`` says what the settings are now, and its example is one that starts."""

import re
from pathlib import Path

import pytest

from tools import settings_page
from undercroft.kit.settings import CONFIG_VARIABLE, Settings, load_settings


def test_the_page_is_what_its_script_writes() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.render_page(), (
        "run python tools/settings_page.py"
    )


def test_every_setting_has_one_row() -> None:
    rows = re.findall(r"^\| `([a-z0-9_]+)` ", settings_page.render_page(), re.MULTILINE)
    assert sorted(name for name in rows if name in Settings.model_fields) == sorted(
        Settings.model_fields
    )


def test_a_setting_without_a_section_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings_page._SECTIONS, "Listening", ("host",))
    with pytest.raises(ValueError, match="allowed_hosts, cors_origins, port"):
        settings_page.render_page()


def test_the_example_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", settings_page.render_page(), re.DOTALL)
    assert example is not None
    file = tmp_path / "undercroft.toml"
    file.write_text(example[1], encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    servers = load_settings().model_servers()
    assert [server.name for server in servers] == ["rack-one", "rack-two", "hosted"]
