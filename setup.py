"""For ``setup.py bdist_wheel``; everything else stands in pyproject.toml."""

from setuptools import setup

setup()
