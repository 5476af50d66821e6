"""``isrf serve``: a vLLM server for ``reasoning.backend: server``, with the settings of the engine."""

from __future__ import annotations

import argparse
import os

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.run.terminal import say


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    serve = commands.add("serve", "start a vLLM server that answers as the engine of reasoning.engine would")
    add_settings_arguments(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; 127.0.0.1 if absent")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on; 8000 if absent")
    serve.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Become the server; returns only where it cannot start."""
    from isrf_pipeline.reasoning.serving import server_command, server_variables

    reasoning = load_settings(arguments.conf_file, arguments.set).settings.reasoning
    command = server_command(reasoning, arguments.host, arguments.port)
    say(f"reasoning.server.urls: [http://{arguments.host}:{arguments.port}/v1]")
    os.execve(command[0], command, os.environ | server_variables(reasoning))
