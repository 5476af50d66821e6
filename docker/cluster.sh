#!/usr/bin/env bash
# Entry point of both images: isrf-cluster master | worker | gpu-worker | vllm | driver COMMAND...
#
# pyspark's wheel has no sbin/start-*.sh for a container to call, so the daemons are started through spark-class.
set -euo pipefail

MASTER_URL="${ISRF_MASTER_URL:-spark://master:7077}"
CORES="${ISRF_WORKER_CORES:-2}"
MEMORY="${ISRF_WORKER_MEMORY:-8g}"
role="${1:-driver}"
[[ $# -eq 0 ]] || shift

case "$role" in
  master)
    exec spark-class org.apache.spark.deploy.master.Master --host "$(hostname)" --port 7077 --webui-port 8080 "$@"
    ;;
  worker)
    exec spark-class org.apache.spark.deploy.worker.Worker --cores "$CORES" --memory "$MEMORY" "$MASTER_URL" "$@"
    ;;
  gpu-worker)
    # Stages that reason ask for GPU executors; this tells Spark which GPUs this worker has.
    export SPARK_WORKER_OPTS="-Dspark.worker.resource.gpu.amount=${ISRF_WORKER_GPUS:-1} -Dspark.worker.resource.gpu.discoveryScript=/usr/local/bin/isrf-gpu-discovery"
    exec spark-class org.apache.spark.deploy.worker.Worker --cores "$CORES" --memory "$MEMORY" "$MASTER_URL" "$@"
    ;;
  vllm)
    exec isrf serve --conf-file "${ISRF_CONF_FILE:-conf/cluster.yaml}" --host 0.0.0.0 --port 8000 "$@"
    ;;
  driver)
    if [[ $# -eq 0 ]]; then set -- isrf doctor; fi
    exec "$@"
    ;;
  *)
    echo "isrf-cluster: $role is not known: use master, worker, gpu-worker, vllm or driver COMMAND." >&2
    exit 2
    ;;
esac
