"""For spark-submit: one stage, with the options of ``isrf run reason_users``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "reason_users", *sys.argv[1:]]))
