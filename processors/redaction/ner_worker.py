"""A process that finds named entities: a text a line comes in, what was found in it goes out.

Started by ``ner``; ends when its input does, so it never outlives the sidecar. It must not reach
the network: the libraries are told so before they are imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Find = Callable[[str], list[Any]]

_LANGUAGE: Final = "en"
_MOST_CHARACTERS: Final = 20_000  # models take memory with the length of a text


class MissingError(Exception):
    """The model or its library is not here; the words are ours and hold no value."""


def main() -> None:
    """Read the settings, load the model, say so, and answer until the input ends."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    # libraries that print must not print into the answers
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    engine, model, entities = json.loads(sys.stdin.readline())
    try:
        find = _load(engine, model, entities)
    except MissingError as error:
        _say(answers, {"error": str(error)})
        return
    except Exception as error:  # noqa: BLE001 - told by its kind
        _say(answers, {"error": f"the model cannot be loaded: {type(error).__name__}"})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        try:
            found = [
                [one.entity_type, start + one.start, start + one.end, float(one.score)]
                for start, part in _parts(json.loads(line))
                for one in find(part)
                if one.entity_type in entities
            ]
        except Exception as error:  # noqa: BLE001 - the value is cut whole, whatever it was
            _say(answers, {"error": type(error).__name__})
        else:
            _say(answers, {"found": found})


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield a long text in parts that end at a blank, each with where it begins."""
    start = 0
    while len(text) - start > _MOST_CHARACTERS:
        end = text.rfind(" ", start, start + _MOST_CHARACTERS) + 1 or start + _MOST_CHARACTERS
        yield start, text[start:end]
        start = end
    yield start, text[start:]


def _load(engine: str, model: str, entities: Sequence[str]) -> Find:
    if engine == "spacy":
        return _spacy(model, entities)
    if engine == "gliner":
        return _recognizer(_gliner(model, entities), entities)
    if engine == "transformers":
        return _recognizer(_transformers(model), entities)
    module, _, name = engine.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise MissingError(f"{engine} cannot be imported: {error}") from error
    return _recognizer(made, entities)


def _spacy(model: str, entities: Sequence[str]) -> Find:
    import spacy  # noqa: PLC0415 - only the engine in use
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415

    # Presidio would download what is missing
    if not spacy.util.is_package(model) and not Path(model).is_dir():
        raise MissingError(f"spaCy has no model {model}: install its package or give its directory")
    nlp = SpacyNlpEngine(models=[{"lang_code": _LANGUAGE, "model_name": model}])
    nlp.load()
    recognizer = SpacyRecognizer(supported_entities=list(entities))

    def find(text: str) -> list[Any]:
        artifacts = nlp.process_text(text, _LANGUAGE)
        return list(recognizer.analyze(text, list(entities), artifacts))

    return find


def _gliner(model: str, entities: Sequence[str]) -> Any:
    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer  # noqa: PLC0415

    _require("gliner")
    labels = {entity.replace("_", " ").lower(): entity for entity in entities}
    return GLiNERRecognizer(entity_mapping=labels, model_name=model, local_files_only=True)


def _transformers(model: str) -> Any:
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer  # noqa: PLC0415

    _require("transformers")
    return HuggingFaceNerRecognizer(model_name=model)


def _recognizer(recognizer: Any, entities: Sequence[str]) -> Find:
    if not callable(getattr(recognizer, "analyze", None)):
        raise MissingError(f"{type(recognizer).__name__} has no method analyze(text, entities)")
    recognizer.load()
    return lambda text: list(recognizer.analyze(text, list(entities), None) or [])


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingError(f"the package {package} is not installed")


if __name__ == "__main__":
    main()
