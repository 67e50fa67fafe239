"""Which attribute keys decide about their value, and which must not."""

from __future__ import annotations

import json

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from config.settings import RedactionSettings
from processors.redaction import Redactor
from processors.redaction.keys import KeyClassifier, KeyKind
from processors.redaction.screen import LOOK_CLOSER

ORDINARY = """
service.name service.version service.instance.id service.namespace host.name host.id os.type
telemetry.sdk.name telemetry.sdk.language process.pid process.command process.runtime.name
process.user.name process.owner container.id container.image.name k8s.pod.name k8s.pod.uid
k8s.namespace.name cloud.account.id cloud.region deployment.environment.name
http.request.method http.route http.response.status_code http.target http.url http.user_agent
http.request.header.content-type http.request.header.user-agent http.request.body.size
user_agent.original user_agent.name user_agent.version userAgent user-agent url.full url.path
url.query server.address server.port client.address network.peer.address network.protocol.name
db.system.name db.statement db.query.text db.namespace db.user db.operation.name db.collection.name
rpc.system rpc.method rpc.service messaging.system messaging.destination.name messaging.message.id
exception.type exception.message exception.stacktrace error.type code.function.name thread.name
session.id session.previous_id gen_ai.conversation.id gen_ai.operation.name gen_ai.provider.name
gen_ai.request.model gen_ai.response.model gen_ai.response.id gen_ai.request.max_tokens
gen_ai.usage.input_tokens gen_ai.usage.output_tokens gen_ai.usage.cache_read.input_tokens
gen_ai.usage.cache_creation_input_tokens gen_ai.usage.reasoning_tokens gen_ai.token.type
gen_ai.server.time_to_first_token gen_ai.server.time_per_output_token gen_ai.usage.total_tokens
gen_ai.usage.completion_tokens gen_ai.tool.name gen_ai.tool.call.id gen_ai.agent.name
gen_ai.input.messages gen_ai.output.messages gen_ai.system_instructions gen_ai.prompt.0.content
llm.token_count.prompt llm.token_count.completion llm.token_count.prompt_details.cache_read
llm.token_count.total llm.usage.total_tokens llm.input_messages.0.message.content
ai.usage.promptTokens ai.usage.inputTokens ai.usage.cachedInputTokens ai.settings.maxTokens
ai.usage.inputTokenDetails.cacheReadTokens ai.response.finishReason max_tokens maxTokens
stop_token token_type num_tokens tokens tokenCount input.value output.value
traceloop.entity.input openinference.span.kind feature_flag.key messaging.kafka.message.key
aws.s3.key cache.key partition_key primary_key sort.key faas.trigger otel.scope.name
HTTPServer JSONPath totalTOKENs IDEs TOKENcount APIkeyCount OStype GPUtemperature URLpath SDKname
design.tokens enduser.role email.count passenger.count author compass.heading keyboard.layout
street.lights server.address network.home address display_name file.full_path customers.count
full.names customer_namespace personnel headphones.model monkey turkey.region bypass passive
db.pass.count first.pass k8s.secret.name secretName secret_arn page_token nextPageToken next_token
otp_app otp_release postcode status_code device.type passport.js nationality license bank.name
""".split()  # noqa: SIM905 - a list of eighty lines reads worse

CREDENTIAL = """
authorization Authorization http.request.header.authorization http.request.header.cookie
http.response.header.set-cookie set-cookie cookie Cookie password db.password DB_PASSWORD
userPassword user_passwd passwd pwd secret client_secret clientSecret app.secret.value api_key
api-key apiKey apikey APIKey
APIkey apiKEY xAPIkey SSHkey DBpwd CSRFtoken
x-api-key http.request.header.x-api-key openai.api_key OPENAI_API_KEY
access_token accessToken refresh_token id_token csrf_token token auth.token x-amz-security-token
aws.secret_access_key private_key privateKey ssh_key credentials jwt bearer passphrase
proxy-authorization connection_string connectionString signing_key sessionToken
DB_PASS smtp.pass redisPass AZURE_STORAGE_KEY SUPABASE_SERVICE_ROLE_KEY FERNET_KEY
ocp-apim-subscription-key x-functions-key x-slack-signature stripe-signature cvv card.cvc cvv2
otp totp_code user.otp verification_code mfaCode 2fa_code x-mfa-code securityCode recovery_codes
""".split()  # noqa: SIM905

IDENTITY = """
enduser.id user.id user.name user.email user.full_name user.roles user_id userId userID
USERid userIDs LLMuser EMAILaddress
app.user_id ai.telemetry.metadata.userId langsmith.metadata.user_id mlflow.trace.user gen_ai.user
llm.user gen_ai.request.user email Email customer.email userEmail contact_email e-mail mail
phone phone_number phoneNumber customer.phone telephone tel username user_name first_name
lastName surname date_of_birth enduser.pseudo.id birthDate full_name fullName customer.name
patientName cardHolderName cardholder_name nickname middle-name streetAddress billing_address
shipping.address.city homeAddress postal_address passport_number passportNo national_id
driver.license_number bank_account_number db.query.parameter.0 db.operation.parameter.key
""".split()  # noqa: SIM905


@pytest.mark.parametrize("key", ORDINARY)
def test_ordinary_keys_leave_their_values_to_the_scan(redactor: Redactor, key: str) -> None:
    """Scenario: keys of semantic conventions and SDKs. Guarantees: no data is lost to a name."""
    assert redactor.keys.classify(key).kind is KeyKind.SCAN


@pytest.mark.parametrize("key", CREDENTIAL)
def test_credential_keys_lose_the_whole_value(redactor: Redactor, key: str) -> None:
    """Scenario: a value that no rule knows. Guarantees: it is gone, whatever it looks like."""
    assert redactor.redact_text("plain words", key=key).text == "<CREDENTIAL>"


@pytest.mark.parametrize("key", IDENTITY)
def test_identity_keys_give_a_token(redactor: Redactor, key: str) -> None:
    """Scenario: a name under an identity key. Guarantees: a joinable token, never the name."""
    first = redactor.redact_text("Jane Roe", key=key).text
    assert regex.fullmatch(r"<IDENTITY:[0-9a-f]{4}-[0-9a-f]{16}>", first)
    assert first == redactor.redact_text(" Jane Roe ", key=key).text
    assert first != redactor.redact_text("John Roe", key=key).text


def test_context_in_a_key_lifts_weak_findings(redactor: Redactor) -> None:
    """Scenario: nine bare digits. Guarantees: found under a key that says ssn, else left."""
    assert redactor.redact_text("123456788", key="customer_ssn").text == "<US_SSN>"
    assert redactor.redact_text("123456788", key="socialSecurityNo").text == "<US_SSN>"
    assert redactor.redact_text("123456788", key="SSNnumber").text == "<US_SSN>"
    assert redactor.redact_text("123456788", key="order").text == "123456788"
    assert redactor.redact_text("my ssn is 123456788").text == "my ssn is <US_SSN>"


def test_globs_and_ignored_keys_of_the_configuration() -> None:
    """Scenario: the user's own lists. Guarantees: globs in any case; ignoring is exact and wins."""
    keys = KeyClassifier(
        RedactionSettings(
            identity_keys=("acme.*who*",), credential_keys=("acme.blob",), ignored_keys=("email",)
        ),
    )
    assert keys.classify("ACME.x.Who").kind is KeyKind.IDENTITY
    assert keys.classify("Acme.Blob").kind is KeyKind.CREDENTIAL
    assert keys.classify("email").kind is KeyKind.IGNORED
    assert keys.classify_nested("email").kind is KeyKind.SCAN
    assert keys.classify("Email").kind is KeyKind.IDENTITY


@given(st.sampled_from(CREDENTIAL + IDENTITY), st.text("._- xyzA1", max_size=4))
def test_every_classed_key_is_hinted_to_the_screen(key: str, tail: str) -> None:
    """Scenario: JSON whose only danger is a key. Guarantees: the screen sends it to the parser."""
    keys = KeyClassifier(RedactionSettings())
    if keys.classify(key + tail).kind is not KeyKind.SCAN:
        assert regex.search(keys.hint, f'{{"{key}{tail}": 1}}', regex.IGNORECASE)
        named = f'{{"key":"{key}{tail}","value":1}}'
        assert regex.search(keys.hint, named, regex.IGNORECASE)


def test_the_hint_reaches_the_screen(redactor: Redactor) -> None:
    """Scenario: a short JSON text with a password. Guarantees: marked although no rule matches."""
    assert LOOK_CLOSER in redactor._marks('{"db_pwd":7}')
    assert redactor.redact_text('{"db_pwd":7}').text == '{"db_pwd": "<CREDENTIAL>"}'


@pytest.mark.parametrize(
    "names",
    [
        '"key": "password", "name": "x"',
        '"name": "x", "key": "password"',
        '"Name": "password", "name": 7',
        '"key": "password", "key": "x"',
    ],
)
def test_each_name_of_a_value_says_what_it_is(redactor: Redactor, names: str) -> None:
    """Scenario: more names than one beside a value. Guarantees: one of a secret is enough."""
    assert redactor.redact_text(f'{{{names}, "value": "x7"}}').text == (
        f'{{{names}, "value": "<CREDENTIAL>"}}'
    )


def test_a_key_value_says_what_it_says_beside_a_name() -> None:
    """Scenario: the user blocks ``value``. Guarantees: a name beside it does not take that back."""
    redactor = Redactor(RedactionSettings(blocked_key_patterns=("^value$",)))
    assert redactor.redact_text('{"key": "a", "value": "x"}').text == (
        '{"key": "a", "value": "<BLOCKED>"}'
    )


@pytest.mark.parametrize("odd", [{}, {"bytesValue": "eA=="}])
def test_the_name_of_a_value_in_a_map_that_plain_json_would_change(
    redactor: Redactor, unscreened: Redactor, odd: dict[str, str]
) -> None:
    """Scenario: ``{"key": "password", "value": …}`` beside bytes or nothing, so as OTLP/JSON.

    Guarantees: the value goes, at once and as unscreened; the same map in another order too.
    """
    name = {"key": "key", "value": {"stringValue": "password"}}
    value = {"key": "value", "value": {"arrayValue": {"values": [{"stringValue": "x7"}]}}}
    other = {"key": "other", "value": odd}
    for entries in ([name, value, other], [other, value, name]):
        text = json.dumps({"kvlistValue": {"values": entries}})
        once = redactor.redact_text(text).text
        assert "x7" not in once
        assert json.dumps(other) in once
        assert once == unscreened.redact_text(text).text == redactor.redact_text(once).text
