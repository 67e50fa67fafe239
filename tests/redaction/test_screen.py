# ruff: noqa: E501, RUF001 - tables of samples, foreign letters among them
"""The fast path misses nothing: screened and unscreened redaction agree."""

from __future__ import annotations

import json
import random
import shutil
import sys
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from collector.model.errors import ConfigError
from config.settings import RedactionSettings
from processors.redaction import views
from processors.redaction.multi_pattern import Expression, compile_all
from processors.redaction.redactor import Redactor
from processors.redaction.screen import LOOK_CLOSER
from processors.redaction.weaken import UnscreenableError, weaken

if TYPE_CHECKING:
    from pathlib import Path

STRINGS: Final = 20_000
SEEDS: Final = (1, 2, 3, 4)
EXAMPLES: Final = 2_160 // len(SEEDS)
PIECES: Final = [
    "john@x.com", "a.b+c@corp.internal", "4111111111111111", "4111-1111-1111-1111", "378282246310005",
    "2223003122003222", "DE89370400440532013000", "gb29 nwbk 6016 1331 9268 19", "219-09-9998",
    "219099998", "ssn", "social", "+14155552671", "(415) 555-2671", "030 12345678", "4155552671", "tel",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "Bearer abc12345",
    "password=hunter2", '"password": "x"', "https://u:pw@h", "?token=abcd", "sk-" + "a1" * 12, "basic dXNlcjpw",
    "-----BEGIN PRIVATE KEY-----", "eyJhbGciOiJI.eyJzdWIiOiI.x", "AccountKey=Zm9vYmFyYmF6Zm9v", "cookie: a=bcd",
    "%40", "%2540", "\\u0040", "\\n", "1.5e+15", "4.111111111111111e15", '{"a":', '"}', "[", "]", "{", "}",
    '"', ":", ",", " ", "  ", "\n", "\x1c", "\x1f", "\x85", "\u2028", "@", ".", "-", "_", "=", "&", "/", "~",
    "ſ", "K", "İ", "ı", "é", "ß", "中", "ａ", "＠", "４", "٤", "१", "\u200b", "\u2011", "\u00a0", "😀", "\ud800",
    "user_id", "api_key", "key", "value", "name", "is", "<EMAIL_ADDRESS>", "<SECRET", "x", "1", "99", "ab",
    "<password>x1</", "token", "name: DB_PASSWORD\n  value: ", "('x-api-key', 'abc123')", "--password ",
    "IDENTIFIED BY 'x1'", "SecretStr('", "curl -u a:", "pcsk_" + "a1B2" * 9,
]  # fmt: skip


def _strings(count: int = STRINGS) -> list[str]:
    rng = random.Random(20_260)
    made = []
    for number in range(count):
        text = "".join(rng.choices(PIECES, k=rng.randint(2, 7)))
        if number % 3 == 0:
            text = "".join(
                chr(rng.choice((ord(c), ord(c), ord(c), ord(c) ^ 32, rng.randrange(1, 0x3000))))
                if rng.random() < 0.05
                else c
                for c in text
            )
        if number % 12 == 0:
            text = json.dumps({"k": text, text[:9]: [text, 1]}, ensure_ascii=number % 24 == 0)
        made.append(text)
    return made


def _spelled(raw: bytes) -> list[str]:
    """Return a string for every ten bytes: two to seven pieces, one letter made odd, some in JSON."""
    made = []
    for place in range(0, len(raw) - 9, 10):
        how, *which, high, low = raw[place : place + 10]
        text = "".join(PIECES[(one + how) % len(PIECES)] for one in which[: 2 + how % 6])
        if how >= 170:
            odd = (high * 256 + low) % 0x3000 or 0x20
            text = text[: low % len(text)] + chr(odd) + text[low % len(text) + 1 :]
        if how % 12 == 0:
            text = json.dumps({"k": text, text[:9]: [text, 1]}, ensure_ascii=how % 24 == 0)
        made.append(text)
    return made


@pytest.mark.parametrize("quarter", SEEDS)
def test_screened_is_unscreened(redactor: Redactor, unscreened: Redactor, quarter: int) -> None:
    """Scenario: hypothesis makes 100,000 strings from fragments of everything, ASCII and not, bare
    and as JSON, every second one under a key that is context; a quarter of them from each seed.

    Guarantees: the screen never withholds a rule or a reading that would have found something.
    """  # noqa: D205 - the scenario needs two lines
    seen: set[str] = set()
    redacted = 0

    @seed(quarter)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(raw=st.binary(min_size=500, max_size=500))
    def compare(raw: bytes) -> None:
        nonlocal redacted
        for number, text in enumerate(_spelled(raw)):
            if text in seen:
                continue
            seen.add(text)
            key = "customer_ssn" if number % 2 else None
            expected = unscreened.redact_text(text, key)
            assert redactor.redact_text(text, key) == expected
            redacted += expected.text != text

    compare()
    assert len(seen) > 100_000 / len(SEEDS)
    assert sum(not text.isascii() for text in seen) > len(seen) * 0.2
    assert len(seen) * 0.3 < redacted < len(seen)


@pytest.mark.parametrize("broken", ["@[\\w\\-]", "live|test|prod", "BEGIN"])
def test_the_comparison_notices_a_screen_that_is_wrong(
    unscreened: Redactor, settings: RedactionSettings, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: one pattern of the screen replaced. Guarantees: the comparison above would fail."""

    def wrong(pattern: str, *, shadow: bool) -> str:
        return "neverthere" if broken in pattern else weaken(pattern, shadow=shadow)

    monkeypatch.setattr("processors.redaction.screen.weaken", wrong)
    mutant = Redactor(settings)
    strings = [*PIECES, "sk_live_" + "a1B2" * 9, *_strings(2000)]
    assert any(mutant.redact_text(one) != unscreened.redact_text(one) for one in strings)


@pytest.mark.parametrize("always_json", [False, True])
def test_strings_scanned_together_are_marked_as_each_alone(*, always_json: bool) -> None:
    """Scenario: the same strings, in every neighbourhood a shuffle makes.

    Guarantees: every string has the marks that it has by itself.
    """
    ignored = ["internal.*"] if always_json else []
    screen = Redactor(RedactionSettings(ignored_keys=ignored, credential_keys=ignored))._screen
    assert screen is not None
    strings = [*PIECES, *_strings(22_000)]
    alone = {text: screen.marks(text) for text in strings}
    assert len(strings) * 0.3 < sum(map(bool, alone.values())) < len(strings) * 0.95
    for shuffle in range(3):
        # sorted by their mark, whole blocks are clean; shuffled, few are
        random.Random(shuffle).shuffle(strings)
        for order in (strings, sorted(strings, key=lambda text: bool(alone[text]))):
            assert screen.screened(order) == [alone[text] for text in order]


@pytest.mark.parametrize("key", ["ssn", "note"])
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text() | st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_screened_is_unscreened_and_stable(
    redactor: Redactor, unscreened: Redactor, key: str, text: str
) -> None:
    """Scenario: hypothesis looks for a string, with and without context. Guarantees: as above,
    unflagged text comes back as the very object, and a second pass changes nothing.
    """  # noqa: D205 - a scenario of two lines
    once = redactor.redact_text(text, key=key)
    assert once == unscreened.redact_text(text, key=key)
    assert once.findings or once.text is text
    assert redactor.redact_text(once.text, key=key).text == once.text


def test_a_broken_screen_would_be_noticed(
    settings: RedactionSettings, unscreened: Redactor
) -> None:
    """Scenario: the screen forgets the e-mail rule. Guarantees: the comparison above can fail."""
    redactor = Redactor(settings)  # of its own: it remembers what it took for clean
    rules = redactor._detectors.rules
    email = next(place for place, rule in enumerate(rules) if rule.pattern.name == "email")
    marks = redactor._screen.marks  # type: ignore[union-attr]

    def forgetful(text: str) -> list[int]:
        return [mark for mark in marks(text) if mark != email]

    texts = [text for text in _strings() if "john@x.com" in text and len(text) < 60]
    patch = pytest.MonkeyPatch()
    patch.setattr(redactor._screen, "marks", forgetful)
    try:
        differing = [
            text for text in texts if redactor.redact_text(text) != unscreened.redact_text(text)
        ]
    finally:
        patch.undo()
    assert differing


def test_damaged_or_unwritable_cache_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: the stored database is damaged, foreign, or its folder cannot be made.

    Guarantees: the same matches each time, and the file is mended where it can be.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def matches() -> list[int]:
        found: list[int] = []
        compiled = compile_all([Expression("a+b", 7), Expression("c", 8)], "hyperscan")
        assert compiled.failed == set()
        compiled.scan(b"xaab", found)
        return found

    assert matches() == [7]
    (file,) = (tmp_path / "clearspan").iterdir()
    good = file.read_bytes()
    assert matches() == [7]
    for bad in (b"", good[:50], good[:60] + bytes([good[60] ^ 255]) + good[61:], b"x" * 99):
        file.write_bytes(bad)
        assert matches() == [7]
        assert file.read_bytes() == good
    shutil.rmtree(tmp_path / "clearspan")
    (tmp_path / "clearspan").write_text("a file where the folder should be")
    assert matches() == [7]


@pytest.mark.parametrize("engine", ["hyperscan", "re2"])
def test_expressions_that_do_not_compile_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Scenario: one of two is refused. Guarantees: the other works, the one is reported."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = compile_all([Expression("a(", 7), Expression("c", 8)], engine)
    found: list[int] = []
    compiled.scan(b"abC", found)
    assert (compiled.failed, found) == ({7}, [8])


def test_without_hyperscan_re2_screens(
    unscreened: Redactor, settings: RedactionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a machine for which Hyperscan has no wheel; 10,000 strings as above.

    Guarantees: RE2 screens instead and withholds nothing; without both, the error says so.
    """
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    fallback = Redactor(settings)
    assert not fallback._screen._always  # type: ignore[union-attr]
    clean = 0
    for text in [*PIECES, *_strings(10_000)]:
        assert fallback.redact_text(text) == unscreened.redact_text(text)
        clean += not fallback.screened([text])[0]
    assert clean > 500
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ConfigError, match="neither hyperscan nor google-re2"):
        Redactor(settings)


@pytest.mark.parametrize(
    ("pattern", "plain", "shadow"),
    [
        (r"(?<![a-z0-9])ab++(?![a-z])", r"(?:^|[^a-z0-9]|[\"\s:,\[\]{}])ab+(?:$|[^a-z]|[\"\s:,\[\]{}])", "ab+"),
        (r"^a(?P<secret>[^b]+?)\Z", "a(?:[^b]+)", "a(?:.+)"),
        (r"\ba(?=b)(?!c)b{2,3}+$", r"\bab{2,3}", r"\bab{2,3}"),
        (r"(?-i:A)(?>b|[c\]])*+", r"(?-i:A)(?:b|[c\]])*", r"(?-i:A)(?:b|[c\]])*"),
        (r"\(?0\$\^", r"\(?0\$\^", r"\(?0\$\^"),
        (r"x([-. ])\d\1y(?=z)", r"x([-. ])\d(?:([-. ]))y", r"x([-. ])\d(?:([-. ]))y"),
        (r"[)(](a(?<!b)\))\1(b)\2", r"[)(](a\))(?:(a\)))(b)(?:(b))", r"[)(](a\))(?:(a\)))(b)(?:(b))"),
        (r"[A-ZÄÖ]é[^à]", "[A-Z]..", "[A-Z__]_."),
        (r"\b(?i)[ſK0-9]", r"\b[sk0-9]", r"\b[sk0-9]"),
        ("[à-ü]", ".", r"[\~_]"),
        (r"ab++(*SKIP)c", "ab+c", "ab+c"),
        (r"a{,3}\{b{2}[{]", r"a{0,3}\{b{2}[{]", r"a{0,3}\{b{2}[{]"),
        ("a{3}b{1,7}c{2,}", "a{3}b{1,7}c{2,}", "a{3}b{1,7}c{2,}"),
        ("a{2,65}b{,1024}?c{1,64}+d{64}", "a{2,}b{0,}c{1,64}d{64}", "a{2,}b{0,}c{1,64}d{64}"),
        ("a{65}b{1002}c{70,}d{70,80}", "a{64,}b{64,}c{64,}d{64,}", "a{64,}b{64,}c{64,}d{64,}"),
        (r"\\{1,5000}", r"\\{1,}", r"\\{1,}"),
    ],
)  # fmt: skip
def test_weakened_patterns(pattern: str, plain: str, shadow: str) -> None:
    """Scenario: constructs that Hyperscan lacks. Guarantees: only assertions and high bounds go."""
    assert weaken(pattern, shadow=False) == plain
    assert weaken(pattern, shadow=True) == shadow


@pytest.mark.parametrize(
    "pattern",
    [r"(a\1)", r"a\1", r"(a)\12", r"\p{L}", r"(?(1)a|b)", r"[\u0041]", r"(?x) a", "[é-\U0001f600]",
     "(?:ab){e<=1}", "ab{ 2}", "ab{,}", "a(?=b)?c", "(?<!a){2}b", "a(?!b)*", "a^*", r"a\B{2}b", "a(*SKIP)*b"],
)  # fmt: skip
def test_patterns_without_a_known_superset_are_refused(pattern: str) -> None:
    """Scenario: constructs with other meanings in bytes. Guarantees: such rules always run."""
    with pytest.raises(UnscreenableError):
        weaken(pattern, shadow=False)


@pytest.mark.parametrize("name", ["key", "name"])
def test_a_name_that_redaction_changed_decides_anew(redactor: Redactor, name: str) -> None:
    """Scenario: what is cut from a name leaves one that makes the value beside it personal.

    Guarantees: the value goes at once, and redacting again changes nothing.
    """
    once = redactor.redact_text(f'[{{"{name}": "user bob@example.com", "value": "hunter2"}}]').text
    assert "hunter2" not in once
    assert redactor.redact_text(once).text == once


@given(st.lists(st.sampled_from([*PIECES, "1.e5", "4e15", "aB3dE5gH7jK9", "x"]), max_size=5))
@settings(max_examples=3_000, deadline=None, derandomize=True)
def test_every_other_reading_is_read(pieces: list[str]) -> None:
    """Scenario: fragments in all kinds of writing. Guarantees: what can be decoded is."""
    text = "".join(pieces)
    assert bool(views.readings(text)) == (views.decode(text) != text)


def test_digits_that_python_does_not_know_are_digits(redactor: Redactor) -> None:
    """Scenario: a digit of Unicode 15, whose value Python 3.11 does not know. Guarantees: redacted
    like any other text, found by a class that names it.
    """  # noqa: D205 - the scenario needs two lines
    digit = "\U00011f50"
    assert redactor.redact_text(f"v{digit} to a@corp.com").text == f"v{digit} to <EMAIL_ADDRESS>"
    own = {"name": "d", "entity": "ODD", "regex": f"x[{digit}]y"}
    odd = Redactor(RedactionSettings(hmac_key="k" * 32, rules=[own]))  # type: ignore[list-item]
    assert odd.redact_text(f"x{digit}y").text == "<ODD>"


def test_written_out_numbers_are_looked_for_beside_any_letter(redactor: Redactor) -> None:
    """Scenario: a number with an exponent and no digit before it. Guarantees: screened alike."""
    for text in ("call 4.e9", "é call 4.e9"):
        assert LOOK_CLOSER in redactor.screened([text])[0]


def test_what_was_cut_whole_is_not_looked_at_again(
    redactor: Redactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a string is an address and nothing else, as hundreds of thousands in one request.

    Guarantees: it is screened once; the token that stands for it is at rest.
    """
    seen: list[str] = []
    marks = redactor._screen.marks  # type: ignore[union-attr]

    def noting(text: str) -> list[int]:
        seen.append(text)
        return marks(text)

    monkeypatch.setattr(redactor._screen, "marks", noting)
    assert redactor.redact_text("john@x.com").text == "<EMAIL_ADDRESS>"
    assert seen == ["john@x.com"]
