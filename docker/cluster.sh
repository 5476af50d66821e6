#!/usr/bin/env bash
# Entry point of both images: isrf-cluster master | worker | gpu-worker | vllm | driver COMMAND...
#
# Spark on Kubernetes starts its pods with "driver --OPTION... FILE" and "executor", and says the rest in variables.
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
    if [[ "${1:-}" == --* ]]; then
      # Deployed by now: the driver runs in this very pod.
      exec spark-submit --deploy-mode client --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" "$@"
    fi
    if [[ "${1:-}" == spark-submit && " $* " != *" --jars "* ]]; then
      # Delta and GraphFrames must be there when the JVM starts: a session of ours would come too late for them.
      shift
      exec spark-submit --jars "$(isrf doctor --jars)" "$@"
    fi
    if [[ $# -eq 0 ]]; then set -- isrf doctor; fi
    exec "$@"
    ;;
  executor)
    # Spark numbers the options of the JVM: SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, ...
    options=()
    for name in $(compgen -e SPARK_JAVA_OPT_ | sort -t_ -k4n); do options+=("${!name}"); done
    home="${SPARK_HOME:-$(python -m pyspark.find_spark_home)}"
    exec java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
      -cp "${SPARK_CLASSPATH:-}:$home/jars/*" org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
  *)
    echo "isrf-cluster: $role is not known: use master, worker, gpu-worker, vllm or driver COMMAND." >&2
    exit 2
    ;;
esac
