"""What Databricks and the Spark operator take, as far as deploy/ uses it; any other field is refused.

Fields, types and choices are those of the Databricks jobs API (docs.databricks.com, "Create a new job") and bundle
configuration ("Databricks Asset Bundle configuration"), and of the Spark operator's types (kubeflow/spark-operator,
api/v1beta2/sparkapplication_types.go and scheduledsparkapplication_types.go).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1)]
Cron = Annotated[str, StringConstraints(pattern=r"^(\S+ ){4}\S+$")]
Quartz = Annotated[str, StringConstraints(pattern=r"^(\S+ ){5}\S+$")]
Memory = Annotated[str, StringConstraints(pattern=r"^\d+[mg]$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TaskDependency(Strict):
    task_key: Text


class SparkPythonTask(Strict):
    python_file: Text
    parameters: list[str]


class Maven(Strict):
    coordinates: Text


class Library(Strict):
    whl: Text | None = None
    maven: Maven | None = None


class Task(Strict):
    task_key: Annotated[str, StringConstraints(pattern=r"^[\w-]{1,100}$")]
    depends_on: list[TaskDependency] = []
    job_cluster_key: Text
    libraries: list[Library]
    spark_python_task: SparkPythonTask
    max_retries: Annotated[int, Field(ge=-1)]
    min_retry_interval_millis: Annotated[int, Field(ge=0)] = 0


class NewCluster(Strict):
    spark_version: Text
    node_type_id: Text
    num_workers: int | Text
    data_security_mode: Literal["SINGLE_USER", "USER_ISOLATION"]
    spark_env_vars: dict[str, str]


class JobCluster(Strict):
    job_cluster_key: Text
    new_cluster: NewCluster


class Schedule(Strict):
    quartz_cron_expression: Quartz
    timezone_id: Text
    pause_status: Literal["PAUSED", "UNPAUSED"]


class Queue(Strict):
    enabled: bool


class EmailNotifications(Strict):
    on_failure: list[str]


class NotificationSettings(Strict):
    no_alert_for_skipped_runs: bool


class JobParameter(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
    default: str


class Job(Strict):
    name: Text
    schedule: Schedule
    max_concurrent_runs: Annotated[int, Field(ge=1)]
    queue: Queue
    email_notifications: EmailNotifications
    notification_settings: NotificationSettings
    parameters: list[JobParameter]
    job_clusters: list[JobCluster]
    tasks: list[Task]


class Resources(Strict):
    jobs: dict[str, Job]


class BundleResources(Strict):
    resources: Resources


class BundleName(Strict):
    name: Text


class Sync(Strict):
    paths: list[str]


class Variable(Strict):
    description: Text
    default: str | int | None = None


class Workspace(Strict):
    root_path: Text


class Target(Strict):
    default: bool
    mode: Literal["development", "production"]
    workspace: Workspace


class Bundle(Strict):
    bundle: BundleName
    sync: Sync
    variables: dict[str, Variable]
    include: list[str]
    targets: dict[str, Target]


class RestartPolicy(Strict):
    type: Literal["Never", "OnFailure", "Always"]
    onFailureRetries: Annotated[int, Field(ge=0)]
    onFailureRetryInterval: Annotated[int, Field(ge=1)]
    onSubmissionFailureRetries: Annotated[int, Field(ge=0)]
    onSubmissionFailureRetryInterval: Annotated[int, Field(ge=1)]


class NamePath(Strict):
    name: Name
    path: Annotated[str, StringConstraints(pattern="^/")]


class SecretRef(Strict):
    name: Name


class EnvFrom(Strict):
    secretRef: SecretRef


class Pod(Strict):
    cores: Annotated[int, Field(ge=1)]
    memory: Memory
    memoryOverhead: Memory
    envFrom: list[EnvFrom]


class Driver(Pod):
    serviceAccount: Name
    configMaps: list[NamePath]


class Executor(Pod):
    instances: Annotated[int, Field(ge=1)]


class ApplicationSpec(Strict):
    type: Literal["Java", "Python", "Scala", "R"]
    pythonVersion: Literal["2", "3"]
    mode: Literal["cluster", "client"]
    sparkVersion: Text
    image: Text
    mainApplicationFile: Text
    arguments: list[str]
    sparkConf: dict[str, str]
    restartPolicy: RestartPolicy
    driver: Driver
    executor: Executor


class ScheduledSpec(Strict):
    schedule: Cron
    concurrencyPolicy: Literal["Allow", "Forbid", "Replace"]
    successfulRunHistoryLimit: int
    failedRunHistoryLimit: int
    template: ApplicationSpec


class Metadata(Strict):
    name: Name | None = None
    generateName: Text | None = None
    namespace: Name


class ScheduledSparkApplication(Strict):
    apiVersion: Literal["sparkoperator.k8s.io/v1beta2"]
    kind: Literal["ScheduledSparkApplication"]
    metadata: Metadata
    spec: ScheduledSpec


class SparkApplication(Strict):
    apiVersion: Literal["sparkoperator.k8s.io/v1beta2"]
    kind: Literal["SparkApplication"]
    metadata: Metadata
    spec: ApplicationSpec
