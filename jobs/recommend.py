"""For spark-submit: one stage, with the options of ``isrf run recommend``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "recommend", *sys.argv[1:]]))
