"""Removes clients from the lake, and proves it."""
