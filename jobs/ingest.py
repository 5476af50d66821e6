"""For spark-submit: one stage, with the options of ``isrf run ingest``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "ingest", *sys.argv[1:]]))
