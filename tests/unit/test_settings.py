"""The table of settings: what it accepts, what it refuses in which words, and that the documentation says the same."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from spawning.errors import ConfigError
from spawning.settings import OPTIONS, Settings, as_dict, checked, parsed, usable_cpus
from spawning.settings.page import renewed

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "settings.md"


def test_documentation_shows_the_table() -> None:
    page = DOCUMENTATION.read_text()
    assert renewed(page) == page, "make settings"


def test_documentation_says_where_each_limit_comes_from() -> None:
    precedents = DOCUMENTATION.read_text().partition("## Where the limits come from")[2]
    for name, option in OPTIONS.items():
        if option.group == "Limits towards clients":
            assert f"\n| `{name}` | " in precedents, name


def test_every_setting_has_a_name_for_messages_and_one_line_of_help() -> None:
    for name, option in OPTIONS.items():
        assert option.help.endswith("."), name
        assert "\n" not in option.help, name
    assert OPTIONS["deadman_timeout"].flag == "--deadman_timeout"


def test_defaults() -> None:
    settings = checked({}, environ={})
    assert (settings.host, settings.port, settings.threadpool_workers) == ("127.0.0.1", 8080, 16)
    assert settings.num_processes == usable_cpus()
    assert settings.factory == "spawning.wsgi_factory.config_factory"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        checked({}).port = 1  # type: ignore[misc]


def test_dictionary_leads_back_to_the_same_settings() -> None:
    settings = checked({"args": ["a:b"], "watch": ["x", "y"], "port": "0", "reload": "dev", "explicit": ["port"]})
    plain = as_dict(settings)
    assert plain["watch"] == ["x", "y"]
    assert checked(plain) == settings


def test_keys_that_are_no_settings_are_ignored() -> None:
    assert checked({"app_factory": "x.y", "django_settings_module": "settings"}, environ={}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("port", "0", 0),
        ("host", "::1", "::1"),
        ("host", "[::]", "[::]"),
        ("host", "fe80::1:80", "fe80::1:80"),
        ("host", "no such host", "no such host"),
        ("port", 65535, 65535),
        ("num_processes", 4.0, 4),
        ("deadman_timeout", "0.5", 0.5),
        ("max_age", "0", 0.0),
        ("no_preload", "yes", True),
        ("no_preload", "Off", False),
        ("no_preload", None, False),
        ("watch", "templates\n  settings.toml\n", ("templates", "settings.toml")),
        ("watch", ["a"], ("a",)),
        ("factory", "django", "spawning.django_factory.config_factory"),
        ("factory", "spawning.django_factory", "spawning.django_factory.config_factory"),
        ("factory", "mine.config_factory", "mine.config_factory"),
        ("pidfile", None, None),
        ("reload", "dev", "dev"),
        ("server_header", "", ""),
        ("health_paths", ["/alive", "/live?x=1"], ("/alive", "/live?x=1")),
        ("keepalive_timeout", 0, 0.0),
        ("reload", "git", "git"),
        ("ready_path", "/healthz?deep=1", "/healthz?deep=1"),
        ("ready_status", 204, "204"),
        ("script_name", "/shop/eu/", "/shop/eu"),
        ("script_name", "/", None),
        ("request_id_header", "X-Request-ID", "X-Request-ID"),
        ("ready_host", "[::1]:8080", "[::1]:8080"),
        ("forwarded_allow_ips", "127.0.0.1, ::1\n10.0.0.0/8", ("127.0.0.1", "::1", "10.0.0.0/8")),
        ("forwarded_allow_ips", ["*,10.0.0.1", "10.0.0.2"], ("*", "10.0.0.1", "10.0.0.2")),
        ("forwarded_allow_ips", [], ()),
    ],
)
def test_accepted(name: str, value: Any, result: Any) -> None:
    assert parsed(name, value, "test") == result


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "http", "option --port: 'http' is not a whole number from 0 to 65535"),
        ("port", "65536", "option --port: '65536' is not a whole number from 0 to 65535"),
        ("port", "-1", "option --port: '-1' is not a whole number from 0 to 65535"),
        ("num_processes", 1.5, "option --processes: 1.5 is not a whole number from 1 to 1024"),
        ("num_processes", float("inf"), "option --processes: inf is not a whole number from 1 to 1024"),
        ("num_processes", None, "option --processes: None is not a whole number from 1 to 1024"),
        ("threadpool_workers", "-1", "option --threads: '-1' is not a whole number from 0 to 4096"),
        ("server_header", "a\nb", "option --server-header: 'a\\nb' is not printable ASCII, as in a header field"),
        ("boot_timeout", "soon", "option --boot-timeout: 'soon' is not a number of seconds above 0"),
        ("boot_timeout", "nan", "option --boot-timeout: 'nan' is not a number of seconds above 0"),
        ("max_age", "-1", "option --max-age: '-1' is not a number of seconds, or 0"),
        ("max_requests", "many", "option --max-requests: 'many' is not a whole number from 0 to 4611686018427387904"),
        ("boot_timeout", 0, "option --boot-timeout: 0 is not a number of seconds above 0"),
        ("host", "a:80", "option --host: 'a:80' is not a host alone: write --host a --port 80, or --bind a:80"),
        (
            "host",
            "[::]:80",
            "option --host: '[::]:80' is not a host alone: write --host :: --port 80, or --bind [::]:80",
        ),
        ("host", ":80", "option --host: ':80' is not a host alone: write --port 80, or --bind :80"),
        ("host", "http://a", "option --host: 'http://a' is not a host, such as 0.0.0.0 or localhost"),
        ("host", "", "option --host: '' is not a text with at least one character, and without NUL"),
        ("verbose", "perhaps", "option --verbose: 'perhaps' is not true or false"),
        ("verbose", 1.5, "option --verbose: 1.5 is not true or false"),
        ("verbose", 2, "option --verbose: 2 is not true or false"),
        ("port", True, "option --port: True is not a whole number from 0 to 65535"),
        ("boot_timeout", True, "option --boot-timeout: True is not a number of seconds above 0"),
        ("boot_timeout", 10**400, f"option --boot-timeout: {10**400} is not a number of seconds above 0"),
        ("pidfile", "a\0b", "option --pidfile: 'a\\x00b' is not a text with at least one character, and without NUL"),
        ("watch", ("", "a"), "option --watch: '', 'a' is not a text with at least one character, and without NUL"),
        ("ready_status", "ok", "option --ready-status: 'ok' is not a status such as 204, or a range such as 200-399"),
        (
            "ready_status",
            "399-200",
            "option --ready-status: '399-200' is not a status such as 204, or a range such as 200-399",
        ),
        (
            "ready_path",
            "healthz",
            "option --ready-path: 'healthz' is not the path of a request, such as /healthz"
            " (percent-encoded, starting with a slash)",
        ),
        (
            "ready_host",
            "a b",
            "option --ready-host: 'a b' is not what a Host field holds, such as www.example.com or localhost:8080",
        ),
        *[
            (
                "script_name",
                value,
                f"option --script-name: {value!r} is not a path such as /shop"
                " (not percent-encoded, starting with a slash)",
            )
            for value in ("shop", "//shop", "/a b", "/a?b", "/a%20b", "/a\x7f", "a")
        ],
        (
            "request_id_header",
            "X_Request_ID",
            "option --request-id-header: 'X_Request_ID' is not the name of a header field, such as X-Request-ID",
        ),
        ("watch", 3, "option --watch: 3 is not a list of texts"),
        (
            "forwarded_allow_ips",
            ("127.0.0.1,10.0.0.1/8",),
            "option --forwarded-allow-ips: '127.0.0.1,10.0.0.1/8' is not a list of addresses,"
            " networks such as 10.0.0.0/8, unix, or *: look at '10.0.0.1/8'",
        ),
        ("watch", [3], "option --watch: 3 is not a text with at least one character, and without NUL"),
        (
            "reload",
            "svn",
            "option --reload: 'svn' is not 'dev' (when files change) or 'git' (when another commit is checked out)",
        ),
        (
            "factory",
            "flask",
            "option --factory: 'flask' is not a dotted path such as package.module.config_factory,"
            " or wsgi, django, paste",
        ),
    ],
)
def test_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked({name: value}, {name: f"option {OPTIONS[name].flag}"})
    assert str(caught.value) == message


def test_value_without_a_source_is_named_by_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"^setting port: 'x' is not"):
        checked({"port": "x"})


def test_environment_replaces_the_default_and_nothing_else() -> None:
    environ = {"PORT": "5000", "WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "10.0.0.1,*", "SCRIPT_NAME": "/app/"}
    settings = checked({}, environ=environ)
    assert (settings.port, settings.num_processes) == (5000, 3)
    assert (settings.forwarded_allow_ips, settings.script_name) == (("10.0.0.1", "*"), "/app")
    assert checked({"port": "6000"}, environ=environ).port == 6000


@pytest.mark.parametrize("variable", ["PORT", "WEB_CONCURRENCY"])
def test_bad_environment_is_named(variable: str) -> None:
    with pytest.raises(ConfigError, match=rf"^environment variable {variable}: 'many' is not a whole number"):
        checked({}, environ={variable: "many"})


def test_empty_environment_variable_is_no_value() -> None:
    assert checked({}, environ={"PORT": ""}).port == 8080
