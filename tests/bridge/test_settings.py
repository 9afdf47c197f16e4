from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.http import HttpAddress
from agentexchange_bridge.settings import ENV_PREFIX, BridgeSettings, SettingsError, flag_of, load_settings

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ak_live_settings_test"
PASSWORD = "hunter2hunter2"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv(f"{ENV_PREFIX}API_KEY", KEY)


def toml(folder: Path, text: str) -> Path:
    path = folder / "bridge.toml"
    path.write_text(text)
    return path


def test_defaults_are_a_local_installation_with_the_whole_market() -> None:
    settings = load_settings({})
    assert str(settings.upstream_url) == "ws://localhost:8000/ws/v1"
    assert str(settings.redis_url) == "redis://localhost:6379/0"
    assert [str(topic) for topic in settings.topics] == ["ticker:all"]
    assert settings.http == HttpAddress("127.0.0.1", 9464)
    assert (settings.account, settings.partitions, settings.exit_on_auth_failure) == (True, 1, False)
    assert not settings.keep_frames
    assert [(account.name, account.key.get_secret_value()) for account in settings.accounts] == [("default", KEY)]


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toml(tmp_path, 'partitions = 2\nworker_id = "file"\nlog_level = "debug"\n')
    monkeypatch.setenv("AGENTEXCHANGE_PARTITIONS", "3")
    monkeypatch.setenv("AGENTEXCHANGE_WORKER_ID", "environment")
    settings = load_settings({"partitions": "4"}, config=config)
    assert (settings.partitions, settings.worker_id, settings.log_level) == (4, "environment", "debug")
    assert settings.log_format == "auto"


def test_every_setting_is_read_from_each_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    values: dict[str, Any] = {
        "upstream_url": "wss://example.test",
        "tls_ca_file": str(tmp_path / "ca.pem"),
        "topics": ["ticker:BTCUSDT", "candles:ethusdt:1h"],
        "candles": "build",
        "follow_interest": False,
        "interest_grace_s": 5.0,
        "account": False,
        "rest_url": "https://example.test/base",
        "exit_on_auth_failure": True,
        "redis_url": "rediss://u:p@example.test:1/2?prefix=crew",
        "partitions": 4,
        "worker_id": "w-1",
        "http": "off",
        "log_level": "error",
        "log_format": "json",
        "lease_ttl_s": 5.5,
        "tick_log_age_s": 60.0,
        "tick_log_entries": 5000,
        "account_log_age_s": 61.0,
        "account_log_entries": 6000,
        "buffer_ticks": 7000,
        "buffer_mib": 8,
        "drain_s": 9.5,
        "tick_stale_after_s": 20.0,
        "max_sessions": 3,
        "ticker_all_from": 40,
        "keep_frames": True,
    }
    elsewhere = {"api_key", "api_key_file", "api_secret", "api_secret_file", "accounts"}
    assert set(values) == set(BridgeSettings.model_fields) - elsewhere
    as_toml = "".join(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
                      for name, value in values.items())  # fmt: skip
    from_file = load_settings({}, config=toml(tmp_path, as_toml))
    for name, value in values.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        monkeypatch.setenv(f"{ENV_PREFIX}{name.upper()}", text)
    assert load_settings({}) == from_file
    assert from_file.redis_url.prefix == "crew"
    assert [str(topic) for topic in from_file.topics] == ["ticker:BTCUSDT", "candles:ETHUSDT:1h"]
    assert from_file.http is None


def test_the_worker_gets_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_settings({
        "redis_url": "redis://h:1/2?prefix=crew", "topics": ["ticker:BTCUSDT"], "partitions": "4", "account": False,
        "worker_id": "w", "lease_ttl_s": "4", "drain_s": "1", "tick_log_age_s": "60", "tick_log_entries": "5000",
        "account_log_age_s": "70", "account_log_entries": "6000", "buffer_ticks": "7000", "buffer_mib": "8",
        "tick_stale_after_s": "30", "max_sessions": "4", "ticker_all_from": "0", "rest_url": "http://localhost:1",
        "interest_grace_s": "7", "follow_interest": "no", "keep_frames": "yes",
    }).worker_config()  # fmt: skip
    assert (config.prefix, config.partitions, config.account, config.worker_id) == ("crew", 4, False, "w")
    assert [str(topic) for topic in config.topics] == ["ticker:BTCUSDT"]
    assert (config.follow_interest, config.interest_grace_s, config.keep_frames) == (False, 7.0, True)
    assert (config.lease_ttl_s, config.drain_s, config.tick_stale_after_s) == (4.0, 1.0, 30.0)
    assert (config.max_sessions, config.ticker_all_from) == (4, None)
    assert (config.market_retention.log_max_age_s, config.market_retention.log_max_len) == (60.0, 5000)
    assert (config.account_retention.log_max_age_s, config.account_retention.log_max_len) == (70.0, 6000)
    assert (config.limits.buffer.ticks, config.limits.buffer.tick_bytes) == (7000, 8 * 1024**2)
    assert [account.key.get_secret_value() for account in config.accounts] == [KEY]
    assert str(config.rest_url) == "http://localhost:1"


@pytest.mark.parametrize("flags", [{"topics": ["orders"]}, {"topics": [], "account": False, "follow_interest": False}])
def test_what_makes_no_sense_for_a_worker_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="account"):
        load_settings(flags)


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTEXCHANGE_WORKER_ID", "")
    monkeypatch.setenv("AGENTEXCHANGE_HTTP", "")
    assert load_settings({}).worker_id is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"topics": ["tick:er"]}, r"^--topic: topic 'tick:er' is not valid: use ticker:SYMBOL"),
        ({"partitions": "many"}, r"^--partitions: Input should be a valid integer"),
        ({"partitions": "0"}, r"^--partitions: .*greater than or equal to 1"),
        ({"http": "9464"}, r"^--http: '9464' is not host:port such as 127.0.0.1:9464 .* or 'off'"),
        ({"redis_url": "ws://h"}, r"^--redis-url: the Redis URL must begin with redis://"),
        ({"upstream_url": "redis://h"}, r"^--upstream-url: .* must begin with ws://"),
        ({"worker_id": "a b"}, r"^--worker-id: "),
        ({"log_level": "loud"}, r"^--log-level: Input should be 'debug', 'info'"),
    ],
)
def test_a_wrong_flag_is_named_with_its_fix(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(flags)


def test_a_wrong_variable_and_a_wrong_key_in_the_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toml(tmp_path, 'http = "nowhere"')
    with pytest.raises(SettingsError, match=r"bridge.toml: http: 'nowhere' is not host:port"):
        load_settings({}, config=config)
    monkeypatch.setenv("AGENTEXCHANGE_PARTITIONS", "2000")
    with pytest.raises(SettingsError, match=r"^AGENTEXCHANGE_PARTITIONS: .*less than or equal to 1024"):
        load_settings({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('redis-url = "redis://x"', "unknown setting 'redis-url': did you mean 'redis_url'"),
        ('upstreamurl = "ws://x"', "did you mean 'upstream_url'"),
        ("zzz = 1", "unknown setting 'zzz': use account, account_log_age_s, "),
        ('api_key = "ak"', "api_key does not belong there: set AGENTEXCHANGE_API_KEY, or api_key_file"),
        ("topics = 3", r"topics: must be a list of topics"),
        ("= 1", "is not TOML"),
        ("#" * 70_000, "larger than 65536 bytes"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings({}, config=toml(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config .*none.toml: No such file"):
        load_settings({}, config=tmp_path / "none.toml")


def test_the_key_comes_from_a_file_with_surrounding_space_removed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  ak_from_file\n")
    assert load_settings({"api_key_file": str(path)}).accounts[0].key.get_secret_value() == "ak_from_file"


def test_a_key_file_named_in_the_file_yields_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_text("ak_from_file")
    config = toml(tmp_path, f'api_key_file = "{path}"')
    assert load_settings({}, config=config).accounts[0].key.get_secret_value() == KEY
    monkeypatch.delenv("AGENTEXCHANGE_API_KEY")
    assert load_settings({}, config=config).accounts[0].key.get_secret_value() == "ak_from_file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "key: must hold 1 to 256"),
        ("two words", "printable ASCII characters without spaces"),
    ],
)
def test_a_key_file_that_holds_no_key(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=message):
        load_settings({"api_key_file": str(path)})


def test_a_key_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="key: not a text file"):
        load_settings({"api_key_file": str(path)})


def test_no_key_at_all_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTEXCHANGE_API_KEY")
    with pytest.raises(SettingsError, match="set AGENTEXCHANGE_API_KEY, or name a file with --api-key-file"):
        load_settings({})


def test_accounts_are_tables_of_the_file_behind_the_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bob.key").write_text("ak_bob\n")
    monkeypatch.setenv("ALICE_KEY", "ak_alice")
    alice, bob = 'name = "alice"\nkey_env = "ALICE_KEY"', f'name = "bob"\nkey_file = "{tmp_path}/bob.key"'
    config = toml(tmp_path, f"partitions = 2\n[[account]]\n{alice}\n[[account]]\n{bob}\n")
    settings = load_settings({}, config=config)
    assert [account.name for account in settings.accounts] == ["default", "alice", "bob"]
    monkeypatch.delenv("AGENTEXCHANGE_API_KEY")
    accounts = load_settings({}, config=config).accounts
    assert [account.key.get_secret_value() for account in accounts] == ["ak_alice", "ak_bob"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('name = "a"', r"\[\[account\]\] 1: give either key_file or key_env"),
        ('name = "a"\nkey_env = "A"\nkey_file = "f"', "give either key_file or key_env"),
        ('name = "a"\nkey_env = "NOT_SET"', "the environment variable NOT_SET is not set"),
        ('name = "a"\nkey_file = "/nowhere/key"', "/nowhere/key: No such file"),
        ('name = "a b"\nkey_env = "A"', "name: String should match"),
        ('name = "a"\nkey = "ak_live_in_the_file"', "the key itself does not belong there"),
        (
            'name = "a"\nkey_env = "OTHER_KEY"\nsecret = "ak_live_in_the_file"',
            "the secret itself does not belong there",
        ),
        ('name = "a"\nkey_env = "OTHER_KEY"\nsecret_env = "A"\nsecret_file = "f"', "either secret_file or secret_env"),
        ('name = "a"\nkey_env = "OTHER_KEY"\nsecret_file = "/nowhere/s"', "/nowhere/s: No such file"),
        ('name = "default"\nkey_env = "OTHER_KEY"', "'default' is named twice"),
        ('name = "a"\nkey_env = "AGENTEXCHANGE_API_KEY"', "'default' and 'a' have the same key"),
    ],
)
def test_a_bad_account_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, message: str
) -> None:
    monkeypatch.setenv("OTHER_KEY", "ak_other")
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings({}, config=toml(tmp_path, f"[[account]]\n{table}\n"))
    assert "ak_" not in str(caught.value)


def test_a_key_may_have_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("sk_from_file\n")
    monkeypatch.setenv("OTHER_KEY", "ak_other")
    table = f'[[account]]\nname = "a"\nkey_env = "OTHER_KEY"\nsecret_file = "{path}"'
    config = toml(tmp_path, f'api_secret_file = "{path}"\n{table}')

    def secrets() -> list[str | None]:
        settings = load_settings({}, config=config)
        assert "sk_" not in repr(settings)
        masked = [secret.get_secret_value() for secret in settings.secrets]
        found = [account.secret and account.secret.get_secret_value() for account in settings.accounts]
        assert {secret for secret in found if secret} <= set(masked)
        return found

    assert secrets() == ["sk_from_file", "sk_from_file"]
    monkeypatch.setenv("AGENTEXCHANGE_API_SECRET", "sk_environment")
    assert secrets() == ["sk_environment", "sk_from_file"]
    with pytest.raises(SettingsError, match="api_secret does not belong there: set AGENTEXCHANGE_API_SECRET"):
        load_settings({}, config=toml(tmp_path, 'api_secret = "sk_in_the_file"'))
    with pytest.raises(SettingsError, match="--rest-url: must"):
        load_settings({"rest_url": "https://user:sk_in_the_url@host"})


def test_secrets_show_in_no_repr_and_are_listed_for_the_log() -> None:
    settings = load_settings({"redis_url": f"redis://user:{PASSWORD}@localhost:6379/0"})
    for text in (repr(settings), str(settings)):
        assert KEY not in text
        assert PASSWORD not in text
    assert [secret.get_secret_value() for secret in settings.secrets] == [KEY, PASSWORD]


@given(data=st.data())
def test_no_error_shows_a_secret_whatever_is_wrong_with_the_value(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(set(BridgeSettings.model_fields) - {"api_key", "api_key_file", "topics"})))
    secret = f"S3CRET{random.randrange(10**9)}"
    shape = data.draw(st.sampled_from([
        "redis://:{}@", "redis://u:{}@h:x/0", "ws://u:{}@h", "{}://h", "redis://:{}@h/db", "ws://h?api_key={}",
    ]))  # fmt: skip
    try:
        load_settings({field: shape.format(secret)})
    except SettingsError as exc:
        if field in ("redis_url", "upstream_url"):
            assert secret not in str(exc)
        assert "\n" not in str(exc)


def test_flags_are_named_after_the_fields() -> None:
    assert flag_of("redis_url") == "--redis-url"
    assert flag_of("topics") == "--topic"
