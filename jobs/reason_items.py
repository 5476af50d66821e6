"""For spark-submit: one stage, with the options of ``isrf run reason_items``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "reason_items", *sys.argv[1:]]))
