"""Explicit and implicit interests, the rounds in which they refine each other, and the ranking of their sum."""
