"""Wrong configurations: every mistake is located and worded, and none shows a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.model.errors import ConfigError
from config.loader import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CANARY = "canary-a8f3e1"


def _mistakes(
    tmp_path: Path,
    text: str,
    overrides: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the lines of the error, the file's directory taken off."""
    file = tmp_path / "c.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_settings([file], overrides, environ or {})
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


_EXACT = {
    "unknown key": (
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpont: 127.0.0.1:1\n",
        "c.yaml:5:9: receivers.otlp.protocols.grpc.endpont: unknown key, did you mean 'endpoint'?",
    ),
    "unknown key far from any": (
        "zzz: 1\n",
        (
            "c.yaml:1:1: zzz: unknown key, keys here: exporters, extensions, processors, "
            "receivers, service"
        ),
    ),
    "unset variable": (
        "exporters:\n  lake:\n    path: ${env:NOWHERE}\n",
        (
            "c.yaml:3:11: exporters.lake.path: environment variable NOWHERE is not set "
            "(${env:NOWHERE:-default} gives a default)"
        ),
    ),
    "wrong type": (
        "processors:\n  redaction: {score_threshold: high}\n",
        "c.yaml:2:32: processors.redaction.score_threshold: expected a number, got a string",
    ),
    "boolean for a number": (
        "receivers: {otlp: {limits: {max_spans: true}}}\n",
        "c.yaml:1:40: receivers.otlp.limits.max_spans: expected a number, got true or false",
    ),
    "number for a string": (
        "exporters: {lake: {path: 5}}\n",
        "c.yaml:1:26: exporters.lake.path: expected a string, got a number",
    ),
    "list for a map": (
        "exporters: [lake]\n",
        "c.yaml:1:12: exporters: expected a map, got a list",
    ),
    "scalar for a list": (
        "processors: {redaction: {entities: SECRET}}\n",
        "c.yaml:1:36: processors.redaction.entities: expected a list, got a string",
    ),
    "duplicate key": (
        "exporters:\n  lake:\n    path: a\n    path: b\n",
        "c.yaml:4:5: exporters.lake.path: duplicate key, first given at line 3",
    ),
    "syntax": (
        "exporters: [1\nservice:\n",
        "c.yaml:2:8: not valid YAML: expected ',' or ']', but got ':'",
    ),
    "two documents": (
        "{}\n---\n{}\n",
        (
            "c.yaml:2:1: not valid YAML: expected a single document in the stream, but found "
            "another document"
        ),
    ),
    "no map": ("[1]\n", "c.yaml:1:1: the top of a configuration is a map of sections"),
    "unreadable file reference": (
        "exporters: {lake: {path: '${file:/nowhere/at/all}'}}\n",
        (
            "c.yaml:1:26: exporters.lake.path: file /nowhere/at/all cannot be read: No such file "
            "or directory"
        ),
    ),
    "unknown scheme": (
        "exporters: {lake: {path: '${HOME}'}}\n",
        (
            "c.yaml:1:26: exporters.lake.path: a reference is written ${env:VAR}, "
            "${env:VAR:-default} or ${file:PATH}"
        ),
    ),
    "unclosed reference": (
        "exporters: {lake: {path: '${env:HOME'}}\n",
        (
            "c.yaml:1:26: exporters.lake.path: '${' has no closing '}'; write $$ for a plain "
            "dollar sign"
        ),
    ),
    "promoted column of no such name": (
        "exporters: {lake: {promote: [{key: tenant.id, column: Tenant-Id}]}}\n",
        (
            "c.yaml:1:55: exporters.lake.promote[0].column: a column is a lower-case letter, then "
            "at most 62 of lower-case letters, digits and _"
        ),
    ),
    "promoted without a column": (
        "exporters: {lake: {promote: [{key: tenant.id}]}}\n",
        "c.yaml:1:30: exporters.lake.promote[0].column: missing, it has no default",
    ),
    "promoted to no type": (
        "exporters: {lake: {promote: [{key: a, column: b, type: date}]}}\n",
        (
            "c.yaml:1:56: exporters.lake.promote[0].type: expected 'string', 'int', 'double' or "
            "'bool'"
        ),
    ),
    "promoted from nowhere": (
        "exporters: {lake: {promote: [{key: a, column: b, source: scope}]}}\n",
        "c.yaml:1:58: exporters.lake.promote[0].source: expected 'span' or 'resource'",
    ),
    "promoted column of the schema": (
        "exporters: {lake: {promote: [{key: a, column: duration_ns}]}}\n",
        "c.yaml:1:47: exporters.lake.promote[0].column: is a column of spans already",
    ),
    "promoted column of otel_traces": (
        "exporters: {lake: {promote: [{key: a, column: spanname}]}}\n",
        (
            "c.yaml:1:47: exporters.lake.promote[0].column: is a column of the view otel_traces "
            "already"
        ),
    ),
    "promoted column of an hour's directory": (
        "exporters: {lake: {promote: [{key: a, column: hour}]}}\n",
        (
            "c.yaml:1:47: exporters.lake.promote[0].column: is a name that readers of Parquet "
            "files use themselves"
        ),
    ),
    "promoted column twice": (
        "exporters: {lake: {promote: [{key: a, column: x}, {key: b, column: x}]}}\n",
        "c.yaml:1:68: exporters.lake.promote[1].column: named twice, first at [0]",
    ),
    "attribute promoted twice": (
        "exporters: {lake: {promote: [{key: a, column: x}, {key: a, column: y, type: int}]}}\n",
        "c.yaml:1:57: exporters.lake.promote[1].key: is promoted twice, first as x",
    ),
    "attribute that is a column": (
        "exporters: {lake: {promote: [{key: http.method, column: x}]}}\n",
        "c.yaml:1:36: exporters.lake.promote[0].key: is the column http_request_method already",
    ),
    "service's age twice": (
        (
            "exporters: {lake: {retention: {services: [{service: a, max_age: 1d}, "
            "{service: a, max_age: 2d}]}}}\n"
        ),
        "c.yaml:1:80: exporters.lake.retention.services[1].service: named twice, first at [0]",
    ),
    "redaction is not first": (
        "service: {pipelines: {traces: {processors: [cost, redaction]}}}\n",
        (
            "c.yaml:1:45: service.pipelines.traces.processors[0]: the first processor must be "
            "'redaction': nothing unclean may go further"
        ),
    ),
    "weights would be overwritten": (
        (
            "service: {pipelines: {traces: {processors: [redaction, tail_sampling, "
            "probabilistic_sampler]}}}\n"
        ),
        (
            "c.yaml:1:71: service.pipelines.traces.processors[2]: must come before "
            "'tail_sampling', whose weights it would overwrite"
        ),
    ),
    "no processors": (
        "service: {pipelines: {traces: {processors: []}}}\n",
        (
            "c.yaml:1:44: service.pipelines.traces.processors: the first processor must be "
            "'redaction': nothing unclean may go further"
        ),
    ),
    "unknown processor": (
        "service: {pipelines: {traces: {processors: [redaction, tail_sampler]}}}\n",
        (
            "c.yaml:1:56: service.pipelines.traces.processors[1]: unknown processor, did you mean "
            "'tail_sampling'?"
        ),
    ),
    "processor twice": (
        "service: {pipelines: {traces: {processors: [redaction, cost, cost]}}}\n",
        "c.yaml:1:62: service.pipelines.traces.processors[2]: named twice, first at [1]",
    ),
    "redaction is not first for logs": (
        "service: {pipelines: {logs: {processors: []}}}\n",
        (
            "c.yaml:1:42: service.pipelines.logs.processors: the first processor must be "
            "'redaction': nothing unclean may go further"
        ),
    ),
    "a processor of spans for logs": (
        "service: {pipelines: {logs: {processors: [redaction, cost]}}}\n",
        (
            "c.yaml:1:54: service.pipelines.logs.processors[1]: 'cost' is for spans: "
            "it can do nothing for log records"
        ),
    ),
    "an exporter that logs do not have": (
        "service: {pipelines: {logs: {exporters: [prometheus]}}}\n",
        "c.yaml:1:42: service.pipelines.logs.exporters[0]: expected 'lake'",
    ),
    "options of an unknown processor": (
        "processors: {redactoin: {}}\n",
        "c.yaml:1:14: processors.redactoin: unknown key, did you mean 'redaction'?",
    ),
    "options of a user's processor that are no map": (
        "processors: {'shop.spans:Drop': 5}\n",
        (
            'c.yaml:1:33: processors."shop.spans:Drop": expected a map of the processor\'s '
            "options, got a number"
        ),
    ),
    "unknown policy": (
        "processors: {tail_sampling: {policies: [{name: a, type: latncy}]}}\n",
        (
            "c.yaml:1:57: processors.tail_sampling.policies[0].type: unknown type, did you mean "
            "'latency'?"
        ),
    ),
    "a policy without its settings": (
        "processors: {tail_sampling: {policies: [{name: a, type: latency}]}}\n",
        "c.yaml:1:41: processors.tail_sampling.policies[0].latency: missing, it has no default",
    ),
    "a sub-policy's threshold": (
        (
            "processors: {tail_sampling: {policies: [{name: a, type: and, and: {and_sub_policy: ["
            "{name: b, type: cost, cost: {min_usd: -1}}]}}]}}\n"
        ),
        (
            "c.yaml:1:123: processors.tail_sampling.policies[0].and.and_sub_policy[0].cost."
            "min_usd: must be at least 0"
        ),
    ),
    "policies of one name": (
        (
            "processors: {tail_sampling: {policies: [{name: a, type: always_sample}, "
            "{name: a, type: always_sample}]}}\n"
        ),
        "c.yaml:1:80: processors.tail_sampling.policies[1].name: named twice, first at [0]",
    ),
    "cost policy without cost": (
        (
            "processors: {tail_sampling: {policies: [{name: a, type: cost, cost: {min_usd: 1}}]}}\n"
            "service: {pipelines: {traces: {processors: [redaction, tail_sampling, cost]}}}\n"
        ),
        (
            "c.yaml:1:57: processors.tail_sampling.policies[0].type: a cost policy needs 'cost' "
            "before 'tail_sampling' in the pipeline"
        ),
    ),
    "endpoint": (
        "extensions: {health_check: {endpoint: localhost}}\n",
        (
            "c.yaml:1:39: extensions.health_check.endpoint: an endpoint is written host:port, like "
            "127.0.0.1:4317 or [::1]:4317"
        ),
    ),
    "duration": (
        "service: {shutdown_grace: soon}\n",
        (
            "c.yaml:1:27: service.shutdown_grace: a duration is written like 500ms, 30s, 5m, 1h30m "
            "or 7d"
        ),
    ),
    "one endpoint for two": (
        "extensions: {health_check: {endpoint: '127.0.0.1:9464'}}\n",
        (
            "c.yaml:1:39: extensions.health_check.endpoint: the same endpoint as "
            "exporters.prometheus.endpoint"
        ),
    ),
    "choice": (
        "service: {telemetry: {logs: {level: loud}}}\n",
        "c.yaml:1:37: service.telemetry.logs.level: expected 'debug', 'info', 'warning' or 'error'",
    ),
    "buckets": (
        "exporters: {prometheus: {histogram_buckets: [1, 1]}}\n",
        (
            "c.yaml:1:45: exporters.prometheus.histogram_buckets: bounds must be more than 0 and "
            "each more than the one before"
        ),
    ),
    "SQL without a token": (
        "extensions: {sql: {enabled: true}}\n",
        (
            "c.yaml:1:19: extensions.sql.token: is needed where the endpoint is enabled: "
            "${env:VAR} or ${file:PATH}"
        ),
    ),
    "short token": (
        "extensions: {sql: {token: tooshort-1234}}\n",
        "c.yaml:1:27: extensions.sql.token: must be at least 16 characters long",
    ),
    "token that no header can carry": (
        "extensions: {sql: {token: 'blanks are not allowed'}}\n",
        (
            "c.yaml:1:27: extensions.sql.token: may only hold letters, digits, '-._~+/' and '=' at "
            "the end"
        ),
    ),
    "SQL on the port of another": (
        "extensions: {sql: {enabled: true, token: 0123456789abcdef, endpoint: '127.0.0.1:4317'}}\n",
        (
            "c.yaml:1:70: extensions.sql.endpoint: the same endpoint as "
            "receivers.otlp.protocols.grpc.endpoint"
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), _EXACT.values(), ids=_EXACT.keys())
def test_the_one_message(tmp_path: Path, text: str, message: str) -> None:
    """Scenario: one mistake. Guarantee: exactly one line, with place, path and remedy."""
    assert _mistakes(tmp_path, text) == [message]


def test_all_mistakes_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Scenario: mistakes of every kind at once. Guarantee: none hides another."""
    text = (
        "receivers: {otlp: {protocol: {}}}\n"
        "processors:\n  redaction: {score_threshold: 2, hmac_key: '${env:NOWHERE}'}\n"
        "exporters: {lake: {flush_interval: 0}}\n"
        "service: {pipelines: {traces: {processors: [cost]}}}\n"
    )
    found = _mistakes(tmp_path, text, ("extensions.health=1", "nonsense"))
    assert [line.split(": ")[:2] for line in found] == [
        ["c.yaml:1:20", "receivers.otlp.protocol"],
        ["c.yaml:3:32", "processors.redaction.score_threshold"],
        ["c.yaml:3:45", "processors.redaction.hmac_key"],
        ["c.yaml:4:36", "exporters.lake.flush_interval"],
        ["c.yaml:5:45", "service.pipelines.traces.processors[0]"],
        ["--set", 'an override is written a.b.c=value, a."b.c".d=value'],
        ["--set", "extensions.health"],
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Scenario: no such file. Guarantee: its name and the system's reason."""
    missing = tmp_path / "nowhere.yaml"
    with pytest.raises(ConfigError) as caught:
        load_settings([missing], [], {})
    assert str(caught.value) == f"{missing}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "text",
    [
        f"processors: {{redaction: {{hmac_key: {_CANARY}}}}}\n",
        f"processors: {{redaction: {{hmac_key: *{_CANARY}}}}}\n",
        f"processors: {{redaction: {{hmac_key: !{_CANARY} x}}}}\n",
        f"processors: {{redaction: {{hmac_key: [{_CANARY}]}}}}\n",
        f"processors: {{redaction: {{hmac_key: {{{_CANARY}: {_CANARY}}}}}}}\n",
        f"processors: {{redaction: {{hmac_key: '{_CANARY}\n",
        f"processors: {{redaction: {{hmac_key: a{_CANARY}: {_CANARY}\n b: c}}}}\n",
        f"processors: {{redaction: {{score_threshold: {_CANARY}}}}}\n",
        f"processors: {{redaction: {{operators: {{DEFAULT: {_CANARY}}}}}}}\n",
        f"exporters: {{lake: {{flush_interval: {_CANARY}}}}}\n",
        f"extensions: {{health_check: {{endpoint: {_CANARY}}}}}\n",
        f"service: {{pipelines: {{traces: {{exporters: [{_CANARY}]}}}}}}\n",
        f"processors: {{tail_sampling: {{policies: [{{name: a, type: {_CANARY}}}]}}}}\n",
        "processors: {redaction: {hmac_key: '${env:CANARY}'}}\n",
        "processors: {redaction: {score_threshold: '${env:CANARY}'}}\n",
        "processors: {redaction: '${env:CANARY}'}\n",
        "service: {pipelines: {traces: {processors: [redaction, '${env:CANARY}']}}}\n",
    ],
)
def test_no_message_holds_a_value(tmp_path: Path, text: str) -> None:
    """Scenario: a secret in every wrong place. Guarantee: the error tells where, never what."""
    lines = _mistakes(tmp_path, text, environ={"CANARY": _CANARY})
    assert _CANARY not in "\n".join(lines)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"a: \x01"])
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes) -> None:
    """Scenario: a binary file. Guarantee: one clear line."""
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not UTF-8 text|holds a control character"):
        load_settings([file], [], {})
