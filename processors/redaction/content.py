"""Prompts, completions and tool data under the policies ``hash`` and ``drop``.

Nothing of their text stays. Of chat messages the structure and who spoke stay, because that is
what one debugs with: ``[{"role": "user", "content": "<CONTENT:412>"}]``.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from processors.redaction import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Attribute keys (globs) that hold what people and models said, by the conventions of
# OpenTelemetry, OpenInference, OpenLLMetry, Vercel's AI SDK, Pydantic AI and Logfire, MLflow,
# Langfuse and Google's ADK.
CONTENT_KEYS: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.prompt.*.content",
    "gen_ai.prompt.variable.*",
    "gen_ai.completion",
    "gen_ai.completion.*.content",
    "gen_ai.prompt.*.arguments",
    "gen_ai.completion.*.arguments",
    "gen_ai.prompt.*.reasoning*",
    "gen_ai.completion.*.reasoning*",
    "gen_ai.completion.*.refusal",
    "gen_ai.content.*",
    "gen_ai.event.content",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query.text",
    "gen_ai.evaluation.explanation",
    "input.value",
    "output.value",
    "llm.input_messages",
    "llm.output_messages",
    "llm.input_messages.*.content",
    "llm.output_messages.*.content",
    "llm.*_messages.*.text",
    "llm.*_messages.*.url",
    "llm.*_messages.*arguments*",
    "llm.*_messages.*.reasoning*",
    "llm.prompts",
    "llm.prompts.*",
    "llm.completions",
    "llm.completions.*",
    "llm.choices.*.text",
    "llm.function_call",
    "llm.tools.*.json_schema",
    "llm.prompt_template.template",
    "llm.prompt_template.variables",
    "llm.request.functions.*.arguments",
    "llm.request.functions.*.parameters",
    "input.*.transcript",
    "output.*.transcript",
    "audio.transcript",
    "*put.images.*.url",
    "retrieval.documents",
    "retrieval.documents.*.content",
    "retrieval.documents.*.metadata",
    "document.content",
    "document.metadata",
    "message_content.text",
    "reranker.*.content",
    "reranker.*.metadata",
    "reranker.query",
    "embedding.text",
    "embedding.embeddings.*.text",
    "tool_call.function.arguments",
    "tool.parameters",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.template",
    "traceloop.prompt.template_variables",
    "mcp.request.argument",
    "mcp.response.value",
    "db.query.result",
    "db.query.result.*document",
    "db.query.result.*metadata",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.text",
    "ai.response.object",
    "ai.response.toolcalls",
    "ai.response.reasoning",
    "ai.result.*",
    "ai.response.files",
    "ai.prompt.tools",
    "ai.value",
    "ai.values",
    "ai.documents",
    "ai.toolcall.args",
    "ai.toolcall.result",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "all_messages",
    "events",
    "final_result",
    "model_request_parameters",
    "tool_arguments",
    "tool_response",
    "request_data",
    "response_data",
    "mlflow.spaninputs",
    "mlflow.spanoutputs",
    "mlflow.traceinputs",
    "mlflow.traceoutputs",
    "mlflow.chat.messages",
    "mlflow.chat.tools",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "content",
    "message.content",
    "prompt",
    "completion",
)
# What a message says of itself; its value stays if it is one short word.
_KEPT: Final = frozenset({"role", "type", "finish_reason", "finishReason"})
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_\-]{0,31}")


def content_keys(more: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of all content keys, the user's globs among them."""
    globs = (*CONTENT_KEYS, *more)
    return re.compile("|".join(map(translate, globs)), re.IGNORECASE)


def replace_content(
    text: str, replace: Callable[[str], str], clean_key: Callable[[str], str]
) -> str:
    """Return the text with every text in it replaced; the same text if nothing is left to.

    ``replace`` is given a text (or a number as it is spelled) and returns what to write;
    ``clean_key`` does the same for keys, which are kept as far as they are clean.
    """
    if json_text.looks_like_json(text):
        try:
            parsed = json_text.parse(text)
            replaced = _replaced(parsed, replace, clean_key)
        except (ValueError, RecursionError):
            return replace(text)
        return text if replaced == parsed else json_text.dump(replaced)
    return replace(text)


def _replaced(value: Any, replace: Callable[[str], str], clean_key: Callable[[str], str]) -> Any:
    if isinstance(value, json_text.Object):
        return json_text.Object(
            (
                clean_key(key),
                item
                if key in _KEPT and isinstance(item, str) and _WORD.fullmatch(item)
                else _replaced(item, replace, clean_key),
            )
            for key, item in value
        )
    if isinstance(value, list):
        return [_replaced(item, replace, clean_key) for item in value]
    if isinstance(value, str):
        return replace(value)
    return value  # true, false, null
