"""Which addresses may be called."""

import ipaddress

import pytest

from undercroft.kit.egress_policy import EgressPolicy, EgressRefusedError
from undercroft.kit.settings import SettingsError, load_settings

PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")
NOT_PUBLIC = (
    "0.0.0.0",  # noqa: S104 - nobody listens there
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:a00:1::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "feff::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
)
BAD_URLS = (
    "",
    "hooks.example.org",
    "//hooks.example.org/x",
    "http://hooks.example.org/x",
    "ftp://hooks.example.org/x",
    "file:///etc/passwd",
    "https://",
    "https:///x",
    "https://user:password@hooks.example.org/x",
    "https://user@hooks.example.org/x",
    "https://hooks.example.org/x#fragment",
    "https://hooks.example.org:0/x",
    "https://hooks.example.org:65536/x",
    "https://hooks.example.org:x/x",
    "https://hooks.example.org/a b",
    "https://hooks.example.org/\r\nHost: other",
    "https://bücher.example/x",
    "https://hooks.example.org\\@127.0.0.1/x",
    "https://[::1/x",
    "https://hooks.example.org/" + "x" * 2000,
    "https://127.0.0.1./x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://0X7F000001/x",
    "https://0177.0.0.1/x",
    "https://127.1/x",
    "https://127.0.0.1/x",
    "https://[::1]/x",
    "https://[::ffff:10.0.0.1]/x",
    "https://169.254.169.254/latest/meta-data",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_called(address: str) -> None:
    EgressPolicy().check_address(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_may_not(address: str) -> None:
    with pytest.raises(EgressRefusedError):
        EgressPolicy().check_address(address)


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_is_none_or_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(EgressRefusedError) as refused:
        EgressPolicy().check_url(url)
    assert (refused.value.param, refused.value.code) == ("url", "url_not_allowed")


def test_a_good_url_is_taken() -> None:
    EgressPolicy().check_url("https://hooks.example.org:8443/undercroft?key=1")
    EgressPolicy(allow_http=True).check_url("http://hooks.example.org/")


def test_the_operator_may_admit_a_network() -> None:
    policy = EgressPolicy((ipaddress.ip_network("10.1.0.0/16"),))
    policy.check_address("10.1.2.3")
    policy.check_address("::ffff:10.1.2.3")
    policy.check_url("https://10.1.2.3/x")
    with pytest.raises(EgressRefusedError):
        policy.check_address("10.2.0.1")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("hooks.example.org", True),
        ("HOOKS.example.org", True),
        ("a.example.com", True),
        ("b.a.example.com", True),
        ("example.com", False),
        ("evilexample.com", False),
        ("hooks.example.org.evil.test", False),
        ("1.1.1.1", False),
    ],
)
def test_the_operator_may_list_the_only_hosts(host: str, *, allowed: bool) -> None:
    policy = EgressPolicy(hosts=("hooks.example.org", "*.example.com"))
    if allowed:
        policy.check_url(f"https://{host}/x")
    else:
        with pytest.raises(EgressRefusedError, match="listed"):
            policy.check_url(f"https://{host}/x")


def test_the_policy_is_what_the_settings_say() -> None:
    settings = load_settings(
        egress_private_networks="10.1.0.0/16, fd00::/8",
        egress_allow_http=True,
        egress_hosts="hooks.example.org",
    )
    policy = EgressPolicy.of(settings)
    assert [str(network) for network in policy.private_networks] == ["10.1.0.0/16", "fd00::/8"]
    assert (policy.allow_http, policy.hosts) == (True, ("hooks.example.org",))
    assert EgressPolicy.of(load_settings()) == EgressPolicy()


@pytest.mark.parametrize(
    "wrong", [{"egress_private_networks": "10.1.0.0/33"}, {"egress_hosts": "https://example.org"}]
)
def test_a_wrong_setting_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        load_settings(**wrong)
