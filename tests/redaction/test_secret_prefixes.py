"""Secrets that their issuers' prefixes tell, with no word beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from processors.redaction.secret_prefixes import PREFIXED

if TYPE_CHECKING:
    from processors.redaction import Redactor

_HEX = "0a1f"
_ANY = "a1B2"
_LOW = "a1b2"
_CAP = "A1B2"
_UUID = "-".join(["0a1f" * 2, "0a1f", "0a1f", "0a1f", "0a1f" * 3])

SAMPLES = {
    "aws session token": "IQoJb3JpZ2lu" + "X2Vj/+" * 40 + "==",
    "aws bedrock short-term key": "bedrock-api-" + "key-" + _ANY * 30,
    "azure client secret": "a~B" + "8Q~" + _ANY * 8 + "_.",
    "azure key": _ANY * 13 + "JQQ" + "J99" + _CAP * 6 + "aB",
    "azure devops token": _ANY * 19 + "AZ" + "DO" + "1x2Y",
    "google refresh token": "1/" + "/0" + "aB-_" * 15,
    "google bound key": "AQ." + "Ab8" + _ANY * 12,
    "gitlab runner token": "GR1348" + "941" + _ANY * 5,
    "gitlab token": "glffct" + "-" + _ANY * 5,
    "slack token": "xoxd" + "-" + "aB%2" * 8,
    "slack app token": "xwfp" + "-" + _ANY * 8,
    "databricks token": "dose" + _HEX * 8,
    "linear key": "lin_" + "oauth_" + _HEX * 16,
    "atlassian token": "ATCTT" + "3" + _ANY * 40,
    "supabase secret key": "sb_" + "secret_" + _ANY * 6 + "_x",
    "cloudflare token": "cfut" + "_" + _ANY * 12,
    "cloudflare origin key": "v1.0" + "-" + _HEX * 6 + "-" + _HEX * 36 + "ab",
    "vercel token": "vck" + "_" + _ANY * 14,
    "vercel blob token": "vercel_blob" + "_rw_" + _ANY * 8,
    "netlify token": "nfp" + "_" + _ANY * 9,
    "render key": "rnd" + "_" + _ANY * 7,
    "heroku key": "HRKU" + "-AA" + _ANY * 15,
    "planetscale token": "pscale" + "_tkn_" + _ANY * 10,
    "neon key": "napi" + "_" + _LOW * 16,
    "confluent secret": "cflt" + "aB1/" * 15,
    "clickhouse cloud secret": "4b1d" + _ANY * 9 + "zz",
    "pinecone key": "pcsk" + "_aB12cD_" + _ANY * 15,
    "chroma key": "ck" + "-" + _ANY * 11,
    "mem0 key": "m0" + "-" + _ANY * 10,
    "langchain key": "ls_" + "_" + _HEX * 8,
    "helicone key": "sk-" + "helicone-" + "ab12cd-" * 4,
    "cerebras key": "csk" + "-" + _LOW * 12,
    "together key": "tgp" + "_v1_" + "aB-_" * 11,
    "fireworks key": "fw" + "_" + _ANY * 6,
    "anyscale key": "esecret" + "_" + _ANY * 7,
    "jina key": "jina" + "_" + _HEX * 8 + _ANY * 7,
    "tavily key": "tvly" + "-dev-" + _ANY * 8,
    "firecrawl key": "fc" + "-" + _HEX * 8,
    "elevenlabs key": "sk" + "_" + _HEX * 12,
    "cartesia key": "sk" + "_car_" + _ANY * 6,
    "weights and biases key": "wandb" + "_v1_" + _ANY * 19,
    "e2b key": "e2b" + "_" + _HEX * 10,
    "runpod key": "rpa" + "_" + _CAP * 11,
    "browserbase key": "bb" + "_live_" + _ANY * 7,
    "inngest key": "signkey" + "-prod-" + _HEX * 16,
    "trigger.dev key": "tr" + "_prod_" + _ANY * 5,
    "sourcegraph token": "sgp" + "_" + _HEX * 4 + "_" + _HEX * 10,
    "brevo key": "xkeysib" + "-" + _HEX * 16 + "-" + _ANY * 4,
    "resend key": "re" + "_" + _ANY * 2 + "_" + _ANY * 6,
    "mailchimp key": _HEX * 8 + "-us" + "12",
    "airtable token": "pat" + "aB12cD34eF56gH" + "." + _HEX * 16,
    "asana token": "2/" + "1234" * 4 + "/" + "5678" * 4 + ":" + _HEX * 8,
    "hubspot token": "pat" + "-na1-" + _UUID,
    "meta token": "EAA" + "C" + _ANY * 20,
    "linkedin secret": "WPL_" + "AP1." + _ANY * 4,
    "discord token": "MTE4" + "NzQ2" * 5 + "MjA." + "Gx1_yZ" + "." + _ANY * 9,
    "dropbox token": "sl." + "u." + "aB-_" * 30,
    "salesforce token": "00D" + _ANY * 3 + "!" + "aB._" * 24,
    "zoho token": "1000" + "." + _HEX * 8 + "." + _HEX * 8,
    "typeform token": "tfp" + "_" + _ANY * 14,
    "contentful token": "CFPAT" + "-" + "aB-_" * 11,
    "plaid token": "access" + "-production-" + _UUID,
    "flutterwave key": "FLWSECK" + "_TEST-" + _HEX * 8 + "-X",
    "shippo token": "shippo" + "_live_" + _HEX * 10,
    "easypost key": "EZAK" + _ANY * 13 + "xY",
    "duffel token": "duffel" + "_live_" + _ANY * 11,
    "paddle key": "pdl" + "_live_apikey_" + _LOW * 6 + "zz_" + _ANY * 5 + "_abc",
    "polar token": "polar" + "_oat_" + _ANY * 10,
    "live key": "live" + "_" + _ANY * 8,
    "dynatrace token": "dt0" + "c01." + _CAP * 6 + "." + _CAP * 16,
    "honeycomb key": "hca" + "ik_" + _LOW * 14,
    "new relic license": _HEX * 9 + "NR" + "AL",
    "sonar token": "sqp" + "_" + _HEX * 10,
    "buildkite token": "bkua" + "_" + _HEX * 10,
    "circleci token": "CCIPAT" + "_" + _ANY * 5 + "zz_" + _HEX * 10,
    "artifactory key": "AKCp" + _ANY * 17,
    "crates.io token": "cio" + _ANY * 8,
    "nuget key": "oy2" + _LOW * 10 + "abc",
    "octopus key": "API" + "-" + _CAP * 6 + "XY",
    "maxmind key": "aB12cD_" + _ANY * 7 + "z_m" + "mk",
    "prefect key": "pnu" + "_" + _ANY * 9,
    "readme key": "rdme" + "_" + _LOW * 17 + "ab",
    "infracost key": "ico" + "-" + _ANY * 8,
    "scalingo token": "tk-" + "us-" + "aB-_" * 12,
    "frame.io token": "fio" + "-u-" + "aB-_" * 16,
    "adafruit key": "aio" + "_" + _ANY * 7,
    "alibaba key id": "LTAI" + _ANY * 5,
    "tencent key id": "AKID" + _ANY * 8,
    "yandex token": "AQVN" + "aB-_" * 9,
    "openshift token": "sha256" + "~" + "aB-_" * 11,
}

ORDINARY = [
    "sha256:" + _HEX * 16, _HEX * 10, _HEX * 8 + "-us-east-1", _UUID, "api-" + _UUID,
    "v1.0-" + _HEX * 6, "cfg_" + _ANY * 12, "re_run_after_failure_of_the_step", "fw_version_1_2_3",
    "access-production-eu-1", "polar_opposite_of_it", "sb_secret_name", "live_streaming_of_events",
    "Module.method.ofAVeryLongNameThatGoesOnAndOnForEver",
    "MONITORING.STATUS.AVAILABILITY_OF_SERVICES_HERE",
    "API-GATEWAY-PRODUCTION-EU", "sl.something.else", "rpa_process", "render_rnd_1", "1000.0.0.0",
]  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_a_secret_without_a_word_beside_it(redactor: Redactor, name: str) -> None:
    """Scenario: a key of one issuer in a sentence. Guarantees: all of it goes, by its rule."""
    assert name in dict(PREFIXED)
    redacted = redactor.redact_text(f"using {SAMPLES[name]}, then")
    assert redacted.text == "using <SECRET>, then"


@pytest.mark.parametrize("text", ORDINARY)
def test_what_only_looks_like_one(redactor: Redactor, text: str) -> None:
    """Scenario: ids and names with such beginnings. Guarantees: they stay."""
    assert redactor.redact_text(f"using {text}, then").text == f"using {text}, then"
