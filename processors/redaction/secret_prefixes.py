"""Secrets that are known by the prefix that their issuer gives them.

Lengths are lower bounds, and nothing is asked of what follows, because in a span a secret is often
followed by ``&``, ``,`` or ``)``.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = r"(?<![A-Za-z0-9])"
_WORD: Final = "[A-Za-z0-9_-]"

PREFIXED: Final = (
    ("openai-like key", r"sk-(?:ant|proj|svcacct|admin|or|lf|None)-[A-Za-z0-9_-]{16,}"),
    ("sk- key", r"sk-[A-Za-z0-9]{20,}"),
    ("anthropic session", r"sk-ant-[A-Za-z0-9_-]{8,}"),
    ("aws access key id", r"(?-i:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?![A-Za-z0-9])"),
    ("aws bedrock key", r"(?-i:ABSK)[A-Za-z0-9+/]{60,}={0,2}"),
    ("github token", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    ("github fine-grained token", r"github_pat_[A-Za-z0-9_]{20,}"),
    ("gitlab token", r"gl(?:pat|dt|rt|ptt|soat|cbt|ft|imt|agent|oas)-[A-Za-z0-9_.-]{16,}"),
    ("slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("slack app token", r"xapp-\d-[A-Za-z0-9-]{10,}"),
    ("google api key", r"(?-i:AIza)[A-Za-z0-9_-]{30,}"),
    ("google oauth token", r"ya29\.[A-Za-z0-9_-]{16,}"),
    ("google oauth secret", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("groq key", r"gsk_[A-Za-z0-9]{20,}"),
    ("xai key", r"xai-[A-Za-z0-9]{20,}"),
    ("hugging face token", r"(?:hf|api_org)_[A-Za-z0-9]{20,}"),
    ("replicate token", r"r8_[A-Za-z0-9]{30,}"),
    ("perplexity key", r"pplx-[A-Za-z0-9]{30,}"),
    ("nvidia key", r"nvapi-[A-Za-z0-9_-]{30,}"),
    ("langsmith key", r"lsv2_(?:pt|sk)_[A-Za-z0-9_]{20,}"),
    ("stripe key", r"[rsp]k_(?:live|test|prod)_[A-Za-z0-9]{10,}"),
    ("webhook secret", r"whsec_[A-Za-z0-9+/=]{20,}"),
    ("npm token", r"npm_[A-Za-z0-9]{30,}"),
    ("pypi token", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("sendgrid key", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("twilio key", r"(?-i:SK)[0-9a-f]{32}(?![A-Za-z0-9])"),
    ("mailgun key", r"key-[0-9a-f]{32}(?![A-Za-z0-9])"),
    ("shopify token", r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}"),
    ("square token", r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}"),
    ("digitalocean token", r"do[opr]_v1_[0-9a-f]{64}"),
    ("databricks token", r"dapi[0-9a-f]{32}(?:-\d)?"),
    ("vault token", r"hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    ("docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    ("grafana token", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,}"),
    ("new relic key", r"NR(?:AK|JS|AL)-[A-Za-z0-9]{20,}"),
    ("sentry token", r"sntry[su]_[A-Za-z0-9+/=_-]{30,}"),
    ("linear key", r"lin_api_[A-Za-z0-9]{30,}"),
    ("bitbucket token", r"(?-i:ATBB)[A-Za-z0-9]{28,}"),
    ("atlassian token", r"(?-i:ATATT3)[A-Za-z0-9_=-]{60,}"),
    ("notion token", r"(?:ntn_|secret_)[A-Za-z0-9]{40,}"),
    ("figma token", r"fig[dor]_[A-Za-z0-9_-]{30,}"),
    ("age key", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{50,}"),
    ("paypal token", r"access_token\$(?:production|sandbox)\$[0-9a-z]{10,}\$[0-9a-f]{20,}"),
    ("pulumi token", r"pul-[0-9a-f]{40}"),
    ("doppler token", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{30,}"),
    ("tailscale key", r"tskey-[a-z]+-[A-Za-z0-9-]{16,}"),
    ("terraform token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{50,}"),
    ("postman key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("rubygems key", r"rubygems_[0-9a-f]{48}"),
    ("supabase token", r"sb[ps]_[A-Za-z0-9_]{30,}"),
    ("1password token", r"ops_eyJ[A-Za-z0-9_-]{100,}"),
    ("posthog personal key", r"phx_[A-Za-z0-9]{30,}"),
    ("fly token", r"fm[12]_[A-Za-z0-9+/=_-]{60,}"),
    ("cloudinary url", r"cloudinary://\d{10,}:[A-Za-z0-9_-]{20,}"),
    ("telegram token", r"\d{8,10}:AA[A-Za-z0-9_-]{32,}"),
    (
        "json web token",
        # (*SKIP): where no dot follows, none follows from a later eyJ before it either
        rf"(?-i:eyJ){_WORD}{{8,}}+(*SKIP)\.{_WORD}{{8,}}(?:\.{_WORD}*)?(?:\.{_WORD}+){{0,2}}",
    ),
)
