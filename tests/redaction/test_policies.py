"""What keys decide: content, blocked, ignored and allowed keys, types, sanitizers."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.model.telemetry import REDACTIONS
from config.loader import load_settings
from config.settings import RedactionSettings
from processors.redaction import RedactionProcessor, Redactor, recognizers
from processors.redaction.operators import CREDENTIAL
from tests.redaction.conftest import KEY, Counts

MESSAGES = json.dumps(
    [
        {"role": "system", "content": "be kind to Ann Smith"},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "arguments": {"city": "Oslo", "n": 17, "ok": True}}],
            "finish_reason": "tool_calls",
        },
    ],
)
SECRETS = ("kind", "Smith", "Oslo", "17")


def made(**options: Any) -> RedactionProcessor:
    """Return a processor with these options and a fixed key."""
    return RedactionProcessor(RedactionSettings(hmac_key=KEY, **options), Counts())


def one(processor: RedactionProcessor, **attributes: tuple[str, str | None]) -> dict[str, str]:
    """Redact one span whose attributes are given as key=(text, type tag)."""
    named = {key.replace("__", "."): pair for key, pair in attributes.items()}
    batch = SpanBatch.from_columns(
        {
            s.NAME: pa.array(["GET /orders/17"]),
            s.ATTRIBUTES: pa.array([[(k, text) for k, (text, _) in named.items()]], s.STRING_MAP),
            s.NON_STRING_TYPES: pa.array(
                [[(k, tag) for k, (_, tag) in named.items() if tag]], s.STRING_MAP
            ),
            s.RESOURCE_ATTRIBUTES: pa.array([[("service.name", "shop"), ("x", "1")]], s.STRING_MAP),
            s.EVENTS: pa.array(
                [[{"name": "e", "attributes": [("x", "1")], "non_string_types": [("x", "int")]}]],
                pa.list_(s.EVENT),
            ),
        },
        1,
    )
    done = processor.process(batch)
    assert processor.process(done).column(s.ATTRIBUTES) == done.column(s.ATTRIBUTES)
    return {"": done.column(s.NAME)[0].as_py(), **dict(done.column(s.ATTRIBUTES)[0].as_py())}


def test_dropped_content_keeps_role_and_length() -> None:
    """Scenario: chat messages and a plain prompt under `drop`. Guarantees: structure, no text."""
    got = one(
        made(content="drop", content_keys=("acme.*",)),
        gen_ai__input__messages=(MESSAGES, None),
        gen_ai__prompt=("tell me", None),
        acme__Answer=("yes", None),
        other=("tell me", None),
    )
    messages = json.loads(got["gen_ai.input.messages"])
    assert [message["role"] for message in messages] == ["system", "assistant"]
    assert messages[0]["content"] == "<CONTENT:20>"
    part = messages[1]["parts"][0]
    assert part["type"] == "tool_call"
    assert part["arguments"] == {"city": "<CONTENT:4>", "n": "<CONTENT:2>", "ok": True}
    assert messages[1]["finish_reason"] == "tool_calls"
    assert got["gen_ai.prompt"] == "<CONTENT:7>"
    assert got["acme.Answer"] == "<CONTENT:3>"
    assert got["other"] == "tell me"


@pytest.mark.parametrize(
    "key",
    [
        "gen_ai.completion.0.reasoning_content", "gen_ai.completion.0.refusal",
        "llm.output_messages.0.message.contents.0.message_content.reasoning",
        "llm.input_messages", "llm.prompts",
        "llm.choices.0.completion.text", "llm.prompt_template.template",
        "llm.tools.0.tool.json_schema",
        "llm.request.functions.0.parameters", "input.audio.transcript", "output.images.0.image.url",
        "retrieval.documents", "document.content", "reranker.output_documents.0.document.metadata",
        "embedding.text", "tool_call.function.arguments", "mcp.request.argument",
        "mcp.response.value",
        "db.query.result.document", "db.query.result.0.metadata", "ai.values", "ai.prompt.tools",
        "tool_arguments", "tool_response", "request_data", "response_data", "events",
        "model_request_parameters", "mlflow.chat.messages", "langfuse.observation.input",
        "langfuse.trace.output", "gcp.vertex.agent.llm_request",
    ],
)  # fmt: skip
def test_what_sdks_call_content_is_dropped(key: str) -> None:
    """Scenario: text under a name of one SDK. Guarantees: only its length stays."""
    redactor = Redactor(RedactionSettings(content="drop"))
    assert redactor.redact_text("what she wrote", key).text == "<CONTENT:14>"


@pytest.mark.parametrize(
    "key",
    [
        "llm.model_name", "llm.invocation_parameters", "gen_ai.completion.0.finish_reason",
        "gen_ai.usage.reasoning_tokens", "ai.toolCall.name", "ai.response.id", "tool.name",
        "mcp.method.name", "llm.tools.0.tool.name", "events.count", "db.query.text", "url.full",
        "http.request.header.input", "retrieval.documents.0.document.score", "input.mime_type",
    ],
)  # fmt: skip
def test_what_is_no_content_stays(key: str) -> None:
    """Scenario: names beside content, with its words in them. Guarantees: their values stay."""
    redactor = Redactor(RedactionSettings(content="drop"))
    assert redactor.redact_text("what she wrote", key).text == "what she wrote"


def test_hashed_content_joins() -> None:
    """Scenario: the same text twice under `hash`. Guarantees: the same token, no text."""
    got = one(
        made(content="hash"),
        gen_ai__prompt=("tell me", None),
        gen_ai__completion=("tell me", None),
        output__value=(MESSAGES, None),
    )
    assert got["gen_ai.prompt"] == got["gen_ai.completion"]
    assert got["gen_ai.prompt"].startswith("<CONTENT:")
    assert not any(secret in got["output.value"] for secret in SECRETS if not secret.isdigit())


@settings(max_examples=200, deadline=None)
@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(json.dumps),
)
@pytest.mark.parametrize("policy", ["drop", "hash"])
def test_no_text_of_content_stays(policy: str, text: str) -> None:
    """Scenario: any text, any JSON. Guarantees: what is left has no letter of a leaf; stable."""
    redactor = REDACTORS[policy]
    once = redactor.redact_text(text, "gen_ai.prompt").text
    assert redactor.redact_text(once, "gen_ai.prompt").text == once
    if not text or redactor.operators.is_token(text):
        return
    try:
        parsed = json.loads(once)
    except ValueError:
        assert redactor.operators.is_token(once)
        return
    for leaf in leaves(parsed):
        assert not isinstance(leaf, str) or not leaf or redactor.operators.is_token(leaf)


def leaves(value: Any) -> list[Any]:
    """Return all values of JSON that hold no others."""
    if isinstance(value, dict):
        return [
            leaf
            for key, item in value.items()
            if key not in {"role", "type", "finish_reason", "finishReason"}
            for leaf in leaves(item)
        ]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


REDACTORS = {
    policy: Redactor(RedactionSettings(hmac_key=KEY, content=policy))  # type: ignore[arg-type]
    for policy in ("drop", "hash")
}


def test_ignored_and_blocked_patterns() -> None:
    """Scenario: key patterns of both kinds. Guarantees: ignored wins; blocked goes whole."""
    got = one(
        made(
            ignored_keys=("exact",),
            ignored_key_patterns=(r"^debug\.", "_raw$"),
            blocked_key_patterns=("internal", r"^debug\.secret"),
        ),
        exact=("ann@example.com", None),
        debug__x=("ann@example.com", None),
        mail_raw=("ann@example.com", None),
        my_internal_note=("fine", None),
        debug__secret=("fine", None),
        json=('{"internal": {"a": "fine"}}', None),
    )
    assert got["exact"] == got["debug.x"] == got["mail_raw"] == "ann@example.com"
    assert got["debug.secret"] == "fine"
    assert got["my_internal_note"] == "<BLOCKED>"
    assert got["json"] == '{"internal": {"a": "<BLOCKED>"}}'


def test_blocked_and_allowed_values() -> None:
    """Scenario: the user's own patterns. Guarantees: what matches goes, also in other readings.

    What is allowed as a whole stays; beside something else only the allowed part does.
    """
    processor = made(
        blocked_values=(r"ACME-\d{4}", r"pin=(?P<secret>\d+)", "^whole$"),
        allowed_values=(r"[^@\s]+@mycompany\.com", "ACME-0000"),
    )
    got = one(
        processor,
        a=("see ACME-1234 and ACME-0000", None),
        b=("see%20ACME-1234", None),
        c=('{"x": "ACME-1234"}', None),
        d=("pin=17&x=1", None),
        e=("whole", None),
        f=("the whole", None),
        g=("acme-1234", None),
        h=("ann@mycompany.com", None),
        i=("bob@evil.com or ann@mycompany.com", None),
    )
    assert got["a"] == "see <BLOCKED> and ACME-0000"
    assert "1234" not in got["b"]
    assert got["c"] == '{"x": "<BLOCKED>"}'
    assert got["d"] == "pin=<BLOCKED>&x=1"
    assert got["e"] == "<BLOCKED>"
    assert (got["f"], got["g"], got["h"]) == ("the whole", "acme-1234", "ann@mycompany.com")
    assert got["i"] == "<EMAIL_ADDRESS> or ann@mycompany.com"


def test_a_pattern_that_runs_away_cuts_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a pattern of exponential time. Guarantees: the value goes whole, nothing hangs."""
    monkeypatch.setattr(recognizers, "TIMEOUT_S", 0.05)
    processor = made(blocked_values=(r"(?:a|aa)+$",))
    assert one(processor, x=("a" * 60 + "!", None))["x"] == "<REDACTED>"


def test_only_allowed_keys_are_kept() -> None:
    """Scenario: `allow_all_keys: false`. Guarantees: other attributes are gone, everywhere.

    Their types too; what is allowed is redacted still, what is ignored is kept as it is.
    """
    counts = Counts()
    processor = RedactionProcessor(
        RedactionSettings(
            hmac_key=KEY,  # type: ignore[arg-type]
            allow_all_keys=False,
            allowed_keys=("a", "service.name", "n"),
            ignored_keys=("raw",),
        ),
        counts,
    )
    batch = SpanBatch.from_columns(
        {
            s.ATTRIBUTES: pa.array(
                [
                    [("a", "ann@example.com"), ("b", "1")],
                    [],
                    [("raw", "x@example.com"), ("n", "2")],
                ],
                s.STRING_MAP,
            ),
            s.NON_STRING_TYPES: pa.array([[("b", "int")], [], [("n", "int")]], s.STRING_MAP),
            s.RESOURCE_ATTRIBUTES: pa.array(
                [[("service.name", "shop"), ("host.name", "h")]] * 3, s.STRING_MAP
            ),
            s.EVENTS: pa.array(
                [
                    [{"name": "e", "attributes": [("b", "1"), ("a", "2")]}],
                    [],
                    [{"name": "f", "attributes": [], "non_string_types": []}],
                ],
                pa.list_(s.EVENT),
            ),
        },
        3,
    )
    done = processor.process(batch.keep(pa.array([True] * 3).to_numpy(zero_copy_only=False)))
    assert done.column(s.ATTRIBUTES).to_pylist() == [
        [("a", "<EMAIL_ADDRESS>")],
        [],
        [("raw", "x@example.com"), ("n", "2")],
    ]
    assert done.column(s.NON_STRING_TYPES).to_pylist() == [[], [], [("n", "int")]]
    assert done.column(s.RESOURCE_ATTRIBUTES).to_pylist() == [[("service.name", "shop")]] * 3
    events = done.column(s.EVENTS).to_pylist()
    assert [[event["attributes"] for event in row] for row in events] == [[[("a", "2")]], [], [[]]]
    assert counts.totals[REDACTIONS.name, "NOT_ALLOWED"] == 5


def test_numbers_are_looked_into_unless_told_not_to() -> None:
    """Scenario: a card number as an integer. Guarantees: cut by default; left on request."""
    card = ("4111111111111111", "int")
    assert one(made(), order=card)["order"] == "<CREDIT_CARD>"
    left = one(made(redact_all_types=False), order=card, text=(card[0], None), password=card)
    assert left["order"] == card[0]
    assert left["text"] == "<CREDIT_CARD>"
    assert left["password"] == f"<{CREDENTIAL}>"


def test_sanitizers_of_attributes_and_span_names() -> None:
    """Scenario: URL and SQL sanitizers on. Guarantees: shapes only, secrets gone as well."""
    got = one(
        made(
            url_sanitizer={"enabled": True},
            db_sanitizer={
                "sql": {"enabled": True},
                "redis": {"enabled": True, "attributes": ["r"]},
            },
        ),
        url__full=("https://u:pw1@shop.test/users/ann@example.com/v2/cart/9f3a?t=1#x", None),
        db__statement=("SELECT * FROM t WHERE mail = 'ann@example.com' AND id IN (1, 2, 3)", None),
        r=("SET user:17 secret", None),
        free=("/users/17", None),
    )
    assert got[""] == "GET /orders/*"
    assert got["url.full"] == "https://shop.test/users/*/v2/cart/*"
    assert got["db.statement"] == "SELECT * FROM t WHERE mail = ? AND id IN (?)"
    assert got["r"] == "SET ?"
    assert got["free"] == "/users/17"
    assert one(made(), x=("1", None))[""] == "GET /orders/17"


def profile(name: str) -> RedactionProcessor:
    """Return a processor with the options of a profile."""
    overrides = [f"processors.redaction.profile={name}", f"processors.redaction.hmac_key={KEY}"]
    return RedactionProcessor(load_settings([], overrides, {}).processors.redaction, Counts())


def test_profile_strict() -> None:
    """Scenario: an LLM call behind a URL. Guarantees: no content, no address, no joinable token."""
    got = one(
        profile("strict"),
        gen_ai__input__messages=(MESSAGES, None),
        client__address=("203.0.113.9", None),
        note=("from 203.0.113.9", None),
        user__id=("u1", None),
        url__path=("/a/17", None),
    )
    assert not any(secret in got["gen_ai.input.messages"] for secret in SECRETS)
    assert got["client.address"] == got["user.id"] == "<IDENTITY>"
    assert got["note"] == "from <IP_ADDRESS>"
    assert got["url.path"] == "/a/*"


def test_profile_gdpr() -> None:
    """Scenario: people by address, number and words. Guarantees: tokens that join, no value."""
    got = one(
        profile("gdpr"),
        a=("from 203.0.113.9", None),
        b=("203.0.113.9 again", None),
        nif=("NIF 55555555K", None),
        mail=("ann@example.com", None),
        note=("write to ann@example.com", None),
        card=("4111111111111111", None),
        llm__input_messages__0__message__content=("I live in Oslo", None),
        llm__input_messages__0__message__role=("user", None),
    )
    assert got["a"].removeprefix("from ") == got["b"].removesuffix(" again")
    assert got["a"].startswith("from <IP_ADDRESS:")
    assert got["nif"].startswith("NIF <ES_NIF:")
    assert got["note"].startswith("write to <EMAIL_ADDRESS:")
    assert got["mail"].startswith("<IDENTITY:")
    assert got["card"] == "<CREDIT_CARD>"
    assert got["llm.input_messages.0.message.content"].startswith("<CONTENT:")
    assert got["llm.input_messages.0.message.role"] == "user"


def test_profile_pci() -> None:
    """Scenario: account data under its own names. Guarantees: cut, names alike are left."""
    cut = [
        "pan",
        "card.cvv",
        "cvc2",
        "card_number",
        "cardNumber",
        "track2_data",
        "accountNo",
        "pin",
    ]
    left = ["span.kind_of", "company", "pinned", "accounting", "card.brand", "trackable"]
    attributes = dict.fromkeys([*cut, *left], ("17", None))
    got = one(profile("pci"), **attributes)
    assert [key for key in attributes if got[key] == "<BLOCKED>"] == cut
