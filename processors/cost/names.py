"""How telemetry names providers and models, and what the price data calls them.

Sources: the well-known values of ``gen_ai.provider.name`` and of the older ``gen_ai.system`` in
the OpenTelemetry GenAI conventions; ids of genai-prices 0.2.3. Names that genai-prices matches
itself (``vertex_ai``, ``MistralAI``, ``openai.chat``, ``xai``) need no entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDER_ALIASES: Final = {
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",  # left alone, genai-prices would take it for openai
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "grok": "x-ai",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
    "vertex_ai": "google",
    "x_ai": "x-ai",
}

# Calls to a model that are billed for what they report (OT well-known operations).
PRICED_OPERATIONS: Final = frozenset({"chat", "embeddings", "generate_content", "text_completion"})
EMBEDDINGS: Final = "embeddings"

_MODELS: Final = "models/"


def model_names(reported: str) -> Iterator[str]:
    """Yield the names a reported model may have in the price data, the most literal first.

    ``models/gemini-2.5-pro`` and ``publishers/google/models/gemini-2.5-pro`` are how Google
    names it; Bedrock reports ARNs that end in ``/<model>``.
    """
    yield reported
    if _MODELS in reported:
        yield reported.rpartition(_MODELS)[2]
    elif reported.startswith("arn:"):
        yield reported.rpartition("/")[2]
