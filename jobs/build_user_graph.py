"""For spark-submit: one stage, with the options of ``isrf run build_user_graph``."""

import sys

from isrf_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", "build_user_graph", *sys.argv[1:]]))
