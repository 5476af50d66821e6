"""The identity of one call: while it holds, the stored answer is the answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.environment.model import MODEL_NAME
from isrf_pipeline.reasoning.prompts import PROMPT_VERSION, Prompt
from isrf_pipeline.reasoning.steps import Step


@dataclass(frozen=True)
class ModelIdentity:
    """Everything but the prompt that decides what a model answers.

    Attributes
    ----------
    name
        Model name; the small bundled model goes by its name and not by the folder it was unpacked to.
    revision
        Revision of a hub model.
    temperature, seed
        Sampling.
    """

    name: str
    revision: str
    temperature: float
    seed: int

    @classmethod
    def of(cls, engine: EngineSettings) -> ModelIdentity:
        """Identity of the configured model."""
        name = MODEL_NAME if engine.model == "bundled" else engine.model
        return cls(name, engine.revision, engine.temperature, engine.seed)


def fingerprint(step: Step, prompt: Prompt, model: ModelIdentity, version: str = PROMPT_VERSION) -> str:
    """SHA-256 (hexadecimal) over model, revision, prompt version, schema, sampling and rendered input."""
    parts = {
        "kind": step.kind,
        "model": model.name,
        "revision": model.revision,
        "prompt_version": version,
        "schema": step.schema,
        "sampling": {"temperature": model.temperature, "seed": model.seed, "max_tokens": step.max_tokens},
        "messages": prompt.messages(),
    }
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
