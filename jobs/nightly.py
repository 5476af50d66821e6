"""For spark-submit: the whole nightly run, with the options of ``isrf nightly``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["nightly", *sys.argv[1:]]))
