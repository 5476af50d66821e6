"""For spark-submit: one stage, with the options of ``isrf run maintain``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "maintain", *sys.argv[1:]]))
