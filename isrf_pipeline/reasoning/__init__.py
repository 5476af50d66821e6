"""Reasoning with a language model: prompts, guided answers, the engine of a worker, cached waves of calls."""
