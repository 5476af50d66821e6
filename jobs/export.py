"""For spark-submit: one stage, with the options of ``isrf run export``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "export", *sys.argv[1:]]))
