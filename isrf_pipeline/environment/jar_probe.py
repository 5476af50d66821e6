"""Run by spark-submit while the set-up resolves jars: prints the paths that Spark's resolver settled on.

It asks the running JVM and starts no session, so a resolution costs no more than the resolver itself.
"""

from __future__ import annotations

from typing import Any

from pyspark import java_gateway


def main() -> None:
    """Print ``ISRF_JARS=`` and the comma-separated jar URLs."""
    gateway: Any = java_gateway  # its functions carry no types
    jvm = gateway.launch_gateway().jvm
    print(f"ISRF_JARS={jvm.java.lang.System.getProperty('spark.jars') or ''}", flush=True)


if __name__ == "__main__":
    main()
