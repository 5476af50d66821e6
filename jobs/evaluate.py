"""For spark-submit: one stage, with the options of ``isrf run evaluate``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "evaluate", *sys.argv[1:]]))
