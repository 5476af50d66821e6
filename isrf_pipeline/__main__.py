"""``python -m isrf_pipeline`` is the command ``isrf``."""

from __future__ import annotations

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
