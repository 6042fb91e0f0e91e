"""Settings: where values come from, which wins, and that a wrong one is named and never shown."""

import os
from pathlib import Path

import pytest

from undercroft.kit.settings import CONFIG_VARIABLE, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no file but the test's own."""
    for name in list(os.environ):
        if name.startswith("UNDERCROFT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _configure(text: str) -> None:
    Path("undercroft.toml").write_text(text, encoding="utf-8")


def test_the_defaults_are_closed() -> None:
    settings = load_settings()
    assert settings.host == "127.0.0.1"
    assert settings.cors_origins == ()
    assert settings.trusted_proxies == ()
    assert settings.model_servers() == ()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _configure("port = 1\nhost = '10.0.0.1'\nlog_level = 'debug'")
    monkeypatch.setenv("UNDERCROFT_PORT", "2")
    monkeypatch.setenv("UNDERCROFT_HOST", "10.0.0.2")
    settings = load_settings(port=3)
    assert (settings.port, settings.host, settings.log_level) == (3, "10.0.0.2", "debug")


def test_a_variable_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 4", encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, "other.toml")
    assert load_settings().port == 4


def test_lists_are_written_with_commas_or_as_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    _configure("trusted_proxies = ['10.0.0.0/8']")
    monkeypatch.setenv("UNDERCROFT_CORS_ORIGINS", "https://a.example, https://b.example,")
    settings = load_settings()
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.trusted_proxies == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    "entry",
    [
        "1234.apps.example",
        "harbour https://login.example 1234",
        f"tenant_{'0' * 32} login.example 1234",
        f"tenant_{'0' * 32} https://login.example 12 34",
        f"tenant_{'0' * 32} https://login.example https://api.example/tenant_{'1' * 32}",
    ],
)
def test_a_fixed_audience_says_whose_it_is_and_is_nobody_elses(entry: str) -> None:
    whole = f"tenant_{'0' * 32} https://login.example 1234.apps.example"
    assert Settings(fixed_audiences=(whole,)).fixed_audiences == (whole,)
    with pytest.raises(ValueError, match="blanks between"):
        Settings(fixed_audiences=(entry,))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings(), "port", 1)  # noqa: B010 - the type checker refuses a plain assignment


def test_one_model_server_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERCROFT_UPSTREAM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("UNDERCROFT_UPSTREAM_KEY", "hunter2")
    (server,) = load_settings().model_servers()
    assert (server.name, str(server.url)) == ("upstream", "http://127.0.0.1:9/v1")
    assert server.key is not None
    assert server.key.get_secret_value() == "hunter2"


def test_several_model_servers_keep_their_order() -> None:
    _configure(
        "[[upstreams]]\nname = 'b'\nurl = 'http://b.example/v1'\nkey = 'hunter2'\n"
        "[[upstreams]]\nname = 'a'\nurl = 'http://a.example/v1'\nlocation = 'local'\n"
    )
    first, second = load_settings().model_servers()
    assert (first.name, first.location) == ("b", "external")
    assert (second.name, second.location) == ("a", "local")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("UNDERCROFT_PROT", "1", "Unknown setting: UNDERCROFT_PROT"),
        ("UNDERCROFT_PORT", "many", "port: "),
        ("UNDERCROFT_PORT", "65536", "port: "),
        ("UNDERCROFT_LOG_LEVEL", "loud", "log_level: "),
        ("UNDERCROFT_DATABASE_URL", "mysql://db/x", "database_url: "),
        ("UNDERCROFT_DATABASE_POOL_SIZE", "1", "database_pool_size: "),
        ("UNDERCROFT_UPSTREAM_URL", "localhost:9", "upstream_url: "),
        ("UNDERCROFT_UPSTREAM_KEY", "k", "upstream_key is set without upstream_url"),
        ("UNDERCROFT_MIGRATION_URL", "postgresql://db/x", "migration_url is set without"),
        ("UNDERCROFT_EMBEDDING_MODEL", "m", "set together or not at all"),
        ("UNDERCROFT_RERANKER_MODEL", "m", "go with reranker_url"),
        ("UNDERCROFT_RERANKER_URL", "https://rank.example/v1", "reranker_model is missing"),
        ("UNDERCROFT_RERANKER_SECONDS", "0", "reranker_seconds: "),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=named):
        load_settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "prot: "),
        ("port = 'many'", "port: "),
        ("port = ", "undercroft.toml is not valid TOML"),
        ("[[upstreams]]\nurl = 'http://a.example/v1'", r"upstreams\.0\.name: "),
        ("[[upstreams]]\nname = 'A B'\nurl = 'http://a.example/v1'", r"upstreams\.0\.name: "),
        ("upstream_url = 'http://a.example/v1'\n[[upstreams]]\nname='a'\nurl='http://a'", "either"),
        ("[[upstreams]]\nname='a'\nurl='http://a'\n" * 2, "share a name"),
        ("reranker_url = 'http://a.example'\nreranker_dir = 'a'\nreranker_api = 'tei'", "not both"),
    ],
)
def test_a_wrong_file_is_named(text: str, named: str) -> None:
    _configure(text)
    with pytest.raises(SettingsError, match=named):
        load_settings()


def test_a_wrong_value_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERCROFT_DATABASE_URL", "mysql://me:hunter2@db/x")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


def test_variables_of_the_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERCROFT_TEST_REQUIRE_PROGRAMS", "1")
    assert load_settings().port == Settings.model_fields["port"].default


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


_ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key_provider": "aws_kms"}, "aws_kms without kms_key_id"),
        ({"key_provider": "vault"}, "'file' or 'aws_kms'"),
        ({"kms_key_id": "alias/undercroft"}, "alias could be pointed elsewhere"),
        ({"kms_key_id": _ARN, "kms_other_key_ids": "alias/former"}, "alias could be pointed"),
        ({"kms_other_key_ids": _ARN}, "go with kms_key_id"),
        ({"kms_endpoint": "https://kms.example.org"}, "go with kms_key_id"),
        ({"kms_key_id": _ARN, "kms_endpoint": "http://kms.example.org"}, "begins with https"),
        ({"kms_key_id": _ARN, "kms_endpoint": "https://kms.example.org/v1"}, "its host"),
        ({"kms_key_id": _ARN, "kms_endpoint": "https://a:b@kms.example.org"}, "its host"),
    ],
)
def test_a_kms_that_keys_cannot_be_given_to_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mail_from": "Undercroft <us@example.org>"}, "one plain address"),
        ({"smtp_host": "mail.test", "smtp_username": "us"}, "together or not at all"),
        ({"smtp_username": "us", "smtp_password": "p"}, "without smtp_host"),
        (
            {
                "smtp_host": "mail.test",
                "smtp_username": "us",
                "smtp_password": "p",
                "smtp_security": "none",
            },
            "needs smtp_security starttls or tls",
        ),
    ],
)
def test_mail_that_could_not_be_sent_or_would_tell_its_password_is_refused(
    changes: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(**changes)


@pytest.mark.parametrize(
    "endpoint", ["https://kms.example.org", "http://127.0.0.1:4566", "http://[::1]:4566/"]
)
def test_a_kms_is_reached_in_confidence(endpoint: str) -> None:
    settings = load_settings(
        key_provider="aws_kms",
        kms_key_id=_ARN,
        kms_other_key_ids=f"{_ARN}, {_ARN}",
        kms_endpoint=endpoint,
    )
    assert settings.kms_other_key_ids == (_ARN, _ARN)
