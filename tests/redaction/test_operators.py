"""What stands in place of a found value, by entity."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from collector.model.errors import ConfigError
from config.loader import load_settings
from config.rendering import plain, to_yaml
from config.settings import RedactionSettings
from processors.redaction import Redactor, findable_entities, forgets_its_key, tokens_of

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a key of the tests, 32 bytes long"
OTHER_KEY = "another key of tests, also 32 long"
CARD = "4111111111111111"
MAIL = "ann.person@example.com"
SPELLINGS = (
    MAIL,
    f"to {MAIL} and {CARD}",
    f"{CARD}",
    json.dumps({"to": MAIL, "card": int(CARD), "password": "hunter2hunter2"}),
    MAIL.replace("@", "%40"),
    f"https://x.test/?card={CARD}&m={base64.b64encode(MAIL.encode()).decode()}&n=1",
    "password=hunter2hunter2",
    f"postgres://app:s3cr3tpassw0rd@db/x for {MAIL}",
)


def made(operators: dict[str, Any], **options: Any) -> Redactor:
    """Return a redactor of these operators."""
    return Redactor(RedactionSettings(operators=operators, hmac_key=KEY, **options))


def longest_shared(redacted: str, value: str) -> int:
    """Return the length of the longest piece of ``value`` that is still there."""
    return max(
        (
            end - start
            for start in range(len(value))
            for end in range(start + 1, len(value) + 1)
            if value[start:end] in redacted
        ),
        default=0,
    )


@pytest.mark.parametrize("kind", ["replace", "mask", "hmac", "remove"])
@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("key", [None, "user.email", "http.request.header.authorization"])
def test_every_operator_cuts_and_rests(kind: str, text: str, key: str | None) -> None:
    """Scenario: each operator for all entities. Guarantees: at most half is left; it is stable."""
    redactor = REDACTORS[kind]
    once = redactor.redact_text(text, key).text
    for value in (MAIL, CARD, "hunter2hunter2", "s3cr3tpassw0rd"):
        assert longest_shared(once, value) <= len(value) // 2
    assert redactor.redact_text(once, key).text == once
    if text.startswith("{") and key is None:
        assert json.loads(once).keys() == json.loads(text).keys()


REDACTORS = {
    kind: made(dict.fromkeys(("DEFAULT", "IDENTITY", "CREDENTIAL"), kind))
    for kind in ("replace", "mask", "hmac", "remove")
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "************1111"),
        ({"keep_last": 0}, "*" * 16),
        ({"keep_first": 6, "keep_last": 4}, "4111********1111"),
        ({"keep_first": 2, "keep_last": 2, "character": "#"}, "41############11"),
        ({"keep_first": 16, "keep_last": 16}, "********11111111"),
    ],
)
def test_masks(options: dict[str, Any], expected: str) -> None:
    """Scenario: masks of a card number. Guarantees: what is asked for, and never more than half."""
    redactor = made({"CREDIT_CARD": {"type": "mask", **options}})
    assert redactor.redact_text(f"card {CARD}!").text == f"card {expected}!"
    assert redactor.redact_text(f"card {expected}!").text == f"card {expected}!"


def test_a_mask_shows_nothing_of_what_it_was_not_made_for() -> None:
    """Scenario: the find is a part of an encoded word. Guarantees: none of its characters stay."""
    redactor = made({"CREDIT_CARD": {"type": "mask", "keep_last": 16}})
    encoded = f"{'a' * 30}%20{CARD}"
    assert redactor.redact_text(encoded).text == "*" * 47
    secret = made({"CREDIT_CARD": {"type": "mask", "keep_last": 16}, "SECRET": "replace"})
    both = secret.redact_text(f"password={CARD}abcdefgh1234").text
    assert longest_shared(both, "abcdefgh1234") <= 1


def test_keep_counts_and_keeps_but_hides_nothing() -> None:
    """Scenario: e-mails are kept. Guarantees: they are reported, and everything else still goes."""
    redactor = made({"EMAIL_ADDRESS": "keep", "IDENTITY": "keep"})
    kept = redactor.redact_text(f"to {MAIL}")
    assert kept.text == f"to {MAIL}"
    assert [(one.entity, one.start, one.end) for one in kept.findings] == [("EMAIL_ADDRESS", 3, 25)]
    assert redactor.redact_text(f"{MAIL} {CARD}").text == f"{MAIL} <CREDIT_CARD>"
    assert redactor.redact_text(MAIL, "user.id").text == MAIL
    assert redactor.redact_text(CARD, "user.id").text == "<CREDIT_CARD>"
    assert redactor.redact_text(f'{{"user_id": 17, "m": "{MAIL}"}}').findings != ()
    assert redactor.redact_text('{"user_id": 17}').text == '{"user_id": 17}'
    # an address that is kept must not end the search before other readings of the text
    assert CARD not in redactor.redact_text(f"{MAIL} 4111%31111 4111%20{CARD[4:]}").text
    encoded = base64.b64encode(f"my card {CARD}".encode()).decode()
    assert redactor.redact_text(f"{MAIL} {encoded}").text == f"{MAIL} <CREDIT_CARD>"
    # nor may it cover what overlaps it
    url = f"https://u:s3cr3tpassw0rd@{MAIL.partition('@')[2]}/"
    assert "s3cr3tpassw0rd" not in redactor.redact_text(url).text


@pytest.mark.parametrize(
    ("key", "text", "cut"),
    [
        ("user.profile", '{"password": "x", "id": "7"}', '{"password": "<CREDENTIAL>", "id": "7"}'),
        ("user.profile", '{"user": {"api_key": "x"}}', '{"user": {"api_key": "<CREDENTIAL>"}}'),
        ("a", '{"user": {"id": "7", "pwd": "x"}}', '{"user": {"id": "7", "pwd": "<CREDENTIAL>"}}'),
        ("user.password", "x", "<CREDENTIAL>"),
        ("user.prompt", "Ann says hello", "<CONTENT:14>"),
        ("user.phone", "4155552671", "<PHONE_NUMBER>"),
        ("user.profile", '{"phone": "4155552671"}', '{"phone": "<PHONE_NUMBER>"}'),
        ("user.profile", '{"email": "a b"}', '{"email": "a b"}'),
    ],
)
def test_a_key_that_is_kept_does_not_hide_what_other_entities_cut(
    key: str, text: str, cut: str
) -> None:
    """Scenario: keys of identity are kept. Guarantees: they and keys in them say the rest."""
    redactor = made(
        {"IDENTITY": "keep"},
        identity_keys=("user.*",),
        content="drop",
        content_keys=("user.prompt",),
    )
    assert redactor.redact_text(text, key).text == cut


def test_remove_and_the_key_classes() -> None:
    """Scenario: remove. Guarantees: nothing in place; DEFAULT says nothing about credentials."""
    redactor = made({"DEFAULT": "remove", "IDENTITY": "remove"})
    assert redactor.redact_text(f"<{MAIL}>").text == "<>"
    assert redactor.redact_text("ann", "user.id").text == ""
    assert redactor.redact_text("x", "password").text == "<CREDENTIAL>"
    assert made({"CREDENTIAL": "remove"}).redact_text("x", "password").text == ""
    assert redactor.redact_text(f'{{"a": ["{MAIL}"]}}').text == '{"a": [""]}'


def test_tokens_name_their_key_and_only_known_keys_make_tokens() -> None:
    """Scenario: the key is rotated. Guarantees: old tokens stay with the old key named, else go."""
    old = made({"DEFAULT": "hmac", "IDENTITY": "hmac"})
    rotated = {"operators": {"DEFAULT": "hmac", "IDENTITY": "hmac"}, "hmac_key": OTHER_KEY}
    aware = Redactor(RedactionSettings(**rotated, hmac_previous_keys=(KEY,)))  # type: ignore[arg-type]
    unaware = Redactor(RedactionSettings(**rotated))  # type: ignore[arg-type]
    token = old.redact_text("ann", "user.id").text
    assert re.fullmatch(r"<IDENTITY:([0-9a-f]{4})-[0-9a-f]{16}>", token)
    assert token[10:14] == old.operators.key_id[:4]
    assert old.version.endswith(old.operators.key_id)
    assert aware.redact_text(token, "user.id").text == token
    assert aware.redact_text("ann", "user.id").text == unaware.redact_text("ann", "user.id").text
    again = unaware.redact_text(token, "user.id").text
    assert again not in {token, unaware.redact_text("ann", "user.id").text}
    assert unaware.redact_text(again, "user.id").text == again


def test_digits_in_angle_brackets_are_no_token(redactor: Redactor) -> None:
    """Scenario: a sender writes what looks like a token. Guarantees: the number in it is cut."""
    assert CARD not in redactor.redact_text(f"<CREDIT_CARD:{CARD}>").text
    assert CARD not in redactor.redact_text(f"<IDENTITY:{CARD}>", "user.id").text
    assert "219099998" not in redactor.redact_text("<CONTENT:219099998>", "customer_ssn").text
    digest = f"<CREDIT_CARD:md5-{CARD}{CARD}>"
    assert CARD not in made({}, hash_function="md5").redact_text(digest, "user.id").text


def test_without_a_key_tokens_join_in_one_process_only() -> None:
    """Scenario: hmac without a key. Guarantees: tokens, equal within the run, unlike another's."""
    one, two = Redactor(RedactionSettings()), Redactor(RedactionSettings())
    first = one.redact_text("ann", "user.id").text
    assert first == one.redact_text("ann", "enduser.id").text
    assert first.startswith("<IDENTITY:")
    assert first != two.redact_text("ann", "user.id").text


@pytest.mark.parametrize(
    ("key", "value", "text", "entity"),
    [
        ("user.email", "Ann.Person@Example.com", MAIL, "EMAIL_ADDRESS"),
        ("user.phone", "+1 (415) 555-2671", "+14155552671", "PHONE_NUMBER"),
        ("user.card", "4111 1111 1111 1111", CARD, "CREDIT_CARD"),
        ("user.iban", "de89 3704 0044 0532 0130 00", "DE89370400440532013000", "IBAN_CODE"),
    ],
)
def test_namespaces(key: str, value: str, text: str, entity: str) -> None:
    """Scenario: one value under an identity key and in a text. Guarantees: shared joins them."""
    operators = {"DEFAULT": "hmac", "IDENTITY": "hmac"}

    def tokens(space: str) -> list[str]:
        redactor = made(operators, hmac_namespace=space)
        whole, inside = redactor.redact_text(value, key).text, redactor.redact_text(text).text
        assert inside.startswith(f"<{entity}:")
        return [one.partition(":")[2] for one in (whole, inside)]

    shared = tokens("shared")
    assert shared[0] == shared[1]
    assert len({*tokens("entity"), *shared}) == 3


@pytest.mark.parametrize(
    ("overrides", "path", "words"),
    [
        (["operators={DEFAULT: keep}"], "operators", "keep is for one entity"),
        (["operators={REDACTED: remove}"], "operators", "REDACTED has no operator"),
        (["operators={CONTENT: {type: hmac}}"], "operators", "CONTENT has no operator"),
        (["operators={EMAIL_ADDRESS: gone}"], "operators.EMAIL_ADDRESS.type", "expected 'replace'"),
        (["operators={SECRET: {type: hmac, keep_last: 2}}"], "operators.SECRET", "are for mask"),
        (["operators={SECRET: {type: mask, keep: 2}}"], "operators.SECRET.keep", "unknown key"),
        (["operators={SECRET: [mask]}"], "operators.SECRET", "expected a map"),
        (["hmac_key=short secret"], "hmac_key", "at least 16 bytes"),
        (["hmac_previous_keys=[shortsecret]"], "hmac_previous_keys", "at least 16 bytes"),
    ],
)
def test_mistakes_are_named_and_not_repeated(overrides: list[str], path: str, words: str) -> None:
    """Scenario: an operator or key that cannot be. Guarantees: it is named, no key is shown."""
    with pytest.raises(ConfigError) as refused:
        load_settings([], [f"processors.redaction.{one}" for one in overrides], {})
    message = str(refused.value)
    assert f"processors.redaction.{path}" in message
    assert words in message
    assert "short" not in message


def test_operators_are_written_as_they_are_read(tmp_path: Path) -> None:
    """Scenario: both forms in a file. Guarantees: print-config gives them back, keys hidden."""
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "config.yaml").write_text(
        "processors:\n  redaction:\n"
        "    operators: {EMAIL_ADDRESS: hmac, CREDIT_CARD: {type: mask, keep_last: 2}}\n"
        f"    hmac_key: ${{file:{tmp_path}/key}}\n"
        f"    hmac_previous_keys: ['{OTHER_KEY}']\n"
    )
    settings = load_settings([tmp_path / "config.yaml"], [], {})
    redaction = settings.processors.redaction
    assert redaction.operators["CREDIT_CARD"].keep_last == 2
    assert redaction.hmac_key is not None
    assert redaction.hmac_key.get_secret_value() == KEY
    shown = to_yaml(plain(settings))
    assert "EMAIL_ADDRESS: hmac" in shown
    assert KEY not in shown + repr(settings)
    assert OTHER_KEY not in shown + repr(settings)


def test_the_settings_take_no_short_key() -> None:
    """Scenario: a key of 15 bytes in Python. Guarantees: refused."""
    with pytest.raises(ValidationError, match="16 bytes"):
        RedactionSettings(hmac_previous_keys=("x" * 15,))  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ["hmac-sha256", "hmac-sha512", "sha3", "sha1", "md5"])
@pytest.mark.parametrize("text", SPELLINGS)
def test_hash_functions_hash_what_would_be_replaced(function: str, text: str) -> None:
    """Scenario: each hash function. Guarantees: nothing survives, it is stable, others hold."""
    redactor = Redactor(RedactionSettings(hash_function=function, hmac_key=KEY))  # type: ignore[arg-type]
    redacted = redactor.redact_text(text).text
    assert not any(value in redacted for value in (MAIL, CARD, "hunter2", "s3cr3t"))
    assert redactor.redact_text(redacted).text == redacted
    kept = made({"EMAIL_ADDRESS": "replace"}, hash_function=function)
    assert kept.redact_text(MAIL).text == "<EMAIL_ADDRESS>"
    assert kept.redact_text(CARD).text.startswith("<CREDIT_CARD:")


@pytest.mark.parametrize("function", ["sha3", "sha1", "md5"])
def test_a_hash_without_a_key_is_the_one_that_others_compute(function: str) -> None:
    """Scenario: two spellings of a card. Guarantees: the plain digest of its digits."""
    name = {"sha3": "sha3_256"}.get(function, function)
    digest = hashlib.new(name, CARD.encode()).hexdigest()
    redactor = Redactor(RedactionSettings(hash_function=function))  # type: ignore[arg-type]
    for spelling in (CARD, "4111 1111 1111 1111"):
        assert redactor.redact_text(spelling).text == f"<CREDIT_CARD:{function}-{digest}>"
    other = "md5" if function != "md5" else "sha1"
    forged = f"<CREDIT_CARD:{other}-{CARD}>"
    assert CARD not in redactor.redact_text(forged).text


@pytest.mark.parametrize(
    "options",
    [
        {"hmac_key": KEY},
        {"hmac_key": KEY, "hmac_namespace": "shared"},
        {"hmac_key": OTHER_KEY, "hmac_previous_keys": [KEY]},
        {"hash_function": "md5"},
        {"hash_function": "sha3"},
        {"hmac_key": KEY, "hash_function": "hmac-sha512"},
    ],
)
def test_every_token_of_a_value_can_be_told(options: dict[str, Any]) -> None:
    """Scenario: values found by a rule of the user's own, by blocked values, by key, as content.

    Guarantees: ``tokens_of`` has every token that redaction writes for them.
    """
    settings = RedactionSettings(
        operators={"DEFAULT": {"type": "hmac"}, "BLOCKED": {"type": "hmac"}},
        rules=[{"name": "emp", "entity": "EMPLOYEE_ID", "regex": "EMP-[0-9]{6}"}],
        blocked_values=["CUST[0-9]{5}"],
        content="hash",
        **options,
    )
    redactor = Redactor(settings)
    cases = {
        "EMP-123456": redactor.redact_text("asked by EMP-123456 today").text,
        "CUST12345": redactor.redact_text("for CUST12345 now").text,
        "ann-the-user": redactor.redact_text("ann-the-user", "user.id").text,
        "what ann said": redactor.redact_text("what ann said", "gen_ai.prompt").text,
    }
    assert not forgets_its_key(settings)
    for value, redacted in cases.items():
        (token,) = re.findall(r"<[A-Z_]+:[^>]+>", redacted)
        assert token in tokens_of(settings, value, findable_entities(settings))


def test_a_key_that_each_process_makes_is_known_to_nobody() -> None:
    """Scenario: no key. Guarantees: no tokens are made up, and it can be told that there are."""
    settings = RedactionSettings()
    assert tokens_of(settings, MAIL, findable_entities(settings)) == set()
    assert forgets_its_key(settings)
    assert not forgets_its_key(RedactionSettings(operators={"DEFAULT": {"type": "replace"}}))
