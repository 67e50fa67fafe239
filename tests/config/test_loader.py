"""What a configuration means: layers, references, empty sections, protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from collector.model.errors import ConfigError
from config.loader import load, load_settings
from config.redaction import Profile
from config.settings import ClearspanSettings

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "0123456789abcdef"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_no_configuration_is_all_defaults() -> None:
    """Scenario: neither file nor override. Guarantee: it loads and is what the types say."""
    assert load_settings([], [], {}) == ClearspanSettings()


@pytest.mark.parametrize("text", ["", "---\n", "# only a comment\n", "receivers:\n"])
def test_an_empty_file_is_all_defaults(tmp_path: Path, text: str) -> None:
    """Scenario: a file that says nothing. Guarantee: it is no error and changes nothing."""
    assert load_settings([_write(tmp_path / "c.yaml", text)], [], {}) == ClearspanSettings()


def test_files_and_overrides_lie_on_top_of_each_other(tmp_path: Path) -> None:
    """Scenario: two files and two overrides. Guarantee: maps merge, lists and scalars replace."""
    base = _write(
        tmp_path / "base.yaml",
        "exporters:\n  lake: {path: /base, flush_interval: 2s}\n"
        "processors:\n  redaction: {identity_keys: [a, b], score_threshold: 0.6}\n",
    )
    over = _write(
        tmp_path / "over.yaml",
        "exporters:\n  lake: {path: /over}\nprocessors:\n  redaction: {identity_keys: [c]}\n",
    )
    settings = load_settings(
        [base, over],
        ["exporters.lake.retention.max_age=1h30m", "service.telemetry.logs.level=debug"],
        {},
    )
    assert settings.exporters.lake.path == "/over"
    assert settings.exporters.lake.flush_interval == 2.0
    assert settings.exporters.lake.retention.max_age == 5400.0
    assert settings.processors.redaction.identity_keys == ("c",)
    assert settings.processors.redaction.score_threshold == 0.6
    assert settings.service.telemetry.logs.level == "debug"


def test_empty_over_a_section_changes_nothing_and_over_an_option_restores_it(
    tmp_path: Path,
) -> None:
    """Scenario: an overlay with `lake:` and one with `path:`. Guarantee: as documented."""
    base = _write(tmp_path / "base.yaml", "exporters:\n  lake: {path: /base}\n")
    section = _write(tmp_path / "section.yaml", "exporters:\n  lake:\n")
    option = _write(tmp_path / "option.yaml", "exporters:\n  lake:\n    path:\n")
    assert load_settings([base, section], [], {}).exporters.lake.path == "/base"
    assert load_settings([base, option], [], {}).exporters.lake.path == "./clearspan-data"


@pytest.mark.parametrize(
    ("protocols", "grpc", "http"),
    [
        ("{grpc: , http: }", True, True),
        ("{grpc: }", True, False),
        ("{http: {endpoint: '127.0.0.1:9'}}", False, True),
        ("{}", True, True),
        ("", True, True),
    ],
)
def test_protocols_that_are_not_named_are_off(
    tmp_path: Path,
    protocols: str,
    grpc: bool,
    http: bool,
) -> None:
    """Scenario: a file names some protocols. Guarantee: those listen, as in the Collector."""
    file = _write(tmp_path / "c.yaml", f"receivers: {{otlp: {{protocols: {protocols}}}}}\n")
    found = load_settings([file], [], {}).receivers.otlp.protocols
    assert (found.grpc is not None, found.http is not None) == (grpc, http)


def test_overriding_one_protocol_leaves_the_other(tmp_path: Path) -> None:
    """Scenario: `--set` of one endpoint, with and without a file. Guarantee: none is turned off."""
    override = "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5"
    alone = load_settings([], [override], {}).receivers.otlp.protocols
    assert alone.grpc is not None
    assert alone.grpc.endpoint == "127.0.0.1:5"
    assert alone.http is not None
    only_http = _write(tmp_path / "c.yaml", "receivers: {otlp: {protocols: {http: }}}\n")
    both = load_settings([only_http], [override], {}).receivers.otlp.protocols
    assert both.grpc is not None
    assert both.http is not None
    listed = load_settings([], ["receivers.otlp.protocols={http: }"], {}).receivers.otlp.protocols
    assert listed.grpc is None


def test_references(tmp_path: Path) -> None:
    """Scenario: every form of reference. Guarantee: typed where whole, text inside text, once."""
    secret = tmp_path / "key"
    secret.write_text(f"{_KEY}\n", encoding="utf-8")
    file = _write(
        tmp_path / "c.yaml",
        f"""
processors:
  redaction:
    hmac_key: ${{file:{secret}}}
    score_threshold: ${{env:THRESHOLD}}
    identity_keys: ${{env:KEYS}}
    ignored_keys: [$$literal, "$${{env:NOT}}", "a-${{env:NAME}}-b", "${{env:NESTED}}"]
exporters:
  lake:
    path: ${{env:NUMERIC}}
  prometheus:
    aggregation_cardinality_limit: ${{env:UNSET:-7}}
    exemplars: "${{env:NO}}"
""",
    )
    environ = {
        "THRESHOLD": "0.7",
        "KEYS": "[user, account]",
        "NAME": "x",
        "NESTED": "${env:NAME}",
        "NUMERIC": "007",
        "NO": "false",
    }
    settings = load_settings([file], [], environ)
    redaction = settings.processors.redaction
    assert redaction.hmac_key is not None
    assert redaction.hmac_key.get_secret_value() == _KEY
    assert redaction.score_threshold == 0.7
    assert redaction.identity_keys == ("user", "account")
    assert redaction.ignored_keys == ("$literal", "${env:NOT}", "a-x-b", "${env:NAME}")
    assert settings.exporters.lake.path == "007"
    assert settings.exporters.prometheus.aggregation_cardinality_limit == 7
    assert settings.exporters.prometheus.exemplars is False


@pytest.mark.parametrize(
    "key",
    [
        "1234567890123456",
        "2024-01-01T00:00:00Z",
        "{a: bbbbbbbbbbbbb}",
        "'quoted: 0123456'",
        "1_0" * 6,
    ],
)
def test_a_secret_stays_the_text_it_is(key: str) -> None:
    """Scenario: keys that YAML would read as something else. Guarantee: their exact text counts."""
    override = "processors.redaction.hmac_key=${env:KEY}"
    found = load_settings([], [override], {"KEY": key}).processors.redaction.hmac_key
    assert found is not None
    assert found.get_secret_value() == key


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    """Scenario: `<<: *anchor`. Guarantee: it fills in what the map itself does not say."""
    file = _write(
        tmp_path / "c.yaml",
        """
processors:
  tail_sampling:
    policies:
      - &slow {name: slow, type: latency, latency: {threshold_ms: 100}}
      - {<<: *slow, name: slower}
""",
    )
    policies = load_settings([file], [], {}).processors.tail_sampling.policies
    assert [policy.name for policy in policies] == ["slow", "slower"]
    assert policies[1].type == "latency"


def test_a_users_processor_gets_its_options() -> None:
    """Scenario: `module:Class` by override. Guarantee: options arrive, references noted."""
    loaded = load(
        [],
        [
            'processors."shop.spans:Drop".routes=[/live]',
            'processors."shop.spans:Drop".dsn=${env:DSN}',
            "service.pipelines.traces.processors=[redaction, 'shop.spans:Drop']",
        ],
        {"DSN": "secret"},
    )
    options = loaded.settings.processors.custom_options("shop.spans:Drop")
    assert options == {"routes": ["/live"], "dsn": "secret"}
    assert loaded.outside == {("processors", "shop.spans:Drop", "dsn")}


def test_nesting_beyond_all_sense_is_a_mistake_not_a_crash(tmp_path: Path) -> None:
    """Scenario: lists nested 5,000 deep. Guarantee: one located error."""
    file = _write(tmp_path / "c.yaml", "receivers: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match="nested too deep"):
        load_settings([file], [], {})


@pytest.mark.parametrize("profile", get_args(Profile))
def test_a_profile_lies_under_what_is_set_beside_it(tmp_path: Path, profile: str) -> None:
    """Scenario: a profile in a file, one of its options over it. Guarantee: the option wins."""
    file = _write(
        tmp_path / "c.yaml",
        f"processors:\n  redaction: {{profile: {profile}, content: scan, score_threshold: 0.7}}\n",
    )
    plain = load_settings([file], ["processors.redaction.content=hash"], {}).processors.redaction
    assert (plain.profile, plain.content, plain.score_threshold) == (profile, "hash", 0.7)
    alone = load_settings([], [f"processors.redaction.profile={profile}"], {}).processors.redaction
    assert (alone == ClearspanSettings().processors.redaction) == (profile == "balanced")
    assert alone.content == {"strict": "drop", "gdpr": "hash"}.get(profile, "scan")


def test_an_unknown_profile_is_named() -> None:
    """Scenario: a profile that does not exist. Guarantee: the error says where and what exists."""
    with pytest.raises(ConfigError, match=r"processors\.redaction\.profile.*balanced"):
        load_settings([], ["processors.redaction.profile=hipaa"], {})
