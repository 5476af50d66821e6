"""The schedulers' files: they call jobs that exist with options that exist, and do with exit codes what they promise.

What the schedulers' own code says of them is asked in tests/integration/test_scheduler_tools.py.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scheduler_schemas as schemas
import yaml

from isrf_pipeline.cli.main import build_parser
from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.run.identity import parse_run_date
from isrf_pipeline.stages.registry import STAGE_NAMES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
LEASE_SECONDS = LakeSettings.model_fields["lease_seconds"].default


def understood(arguments: list[str]) -> Any:
    """What the command line makes of the arguments of a job; an option that it lacks raises."""
    return build_parser().parse_args(arguments)


# cron


def cron_line() -> tuple[dict[str, str], str, str]:
    """Variables, schedule and command of the one line."""
    variables, lines = {}, []
    for line in (DEPLOY / "cron" / "isrf").read_text(encoding="utf-8").splitlines():
        name, assigned, value = line.partition("=")
        if re.fullmatch(r"[A-Z]+", name) and assigned:
            variables[name] = value
        elif line and not line.startswith("#"):
            lines.append(line)
    (line,) = lines
    *schedule, user, command = line.split(maxsplit=6)
    assert user == "isrf"
    return variables, " ".join(schedule), command


@pytest.mark.parametrize(
    ("codes", "calls", "mails"),
    [
        ([0], ["nightly"], False),
        ([5], ["nightly"], False),
        ([1, 0], ["nightly", "nightly"], False),
        ([1, 5], ["nightly", "nightly"], False),
        ([1, 1], ["nightly", "nightly", "status"], True),
        ([2], ["nightly", "status"], True),
        ([3], ["nightly", "status"], True),
        ([4], ["nightly", "status"], True),
    ],
)
def test_cron_mails_only_where_somebody_must_look(
    tmp_path: Path, codes: list[int], calls: list[str], mails: bool
) -> None:
    """The line itself runs, with a program in place of ours that ends with the given codes, and no sleep."""
    program = tmp_path / ".venv" / "bin" / "isrf"
    program.parent.mkdir(parents=True)
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes), encoding="utf-8")
    program.write_text(
        '#!/bin/sh\necho "$*" >>calls\n[ "$1" = status ] && { echo "what to do"; exit 0; }\n'
        'echo "secret is $ISRF_SECRET_KEY"\ncode=$(head -1 codes); sed -i 1d codes; exit $code\n',
        encoding="utf-8",
    )
    sleep = tmp_path / "sleep"
    sleep.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    for file in (program, sleep):
        file.chmod(0o755)
    (tmp_path / "secrets.env").write_text("ISRF_SECRET_KEY=hunter2\n", encoding="utf-8")
    variables, _, command = cron_line()
    settings = {
        **variables,
        "ISRF": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["sh", "-c", command.replace("/etc/isrf/secrets.env", str(tmp_path / "secrets.env"))],
        env=settings,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    called = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert [call.split()[0] for call in called] == calls
    for call in called:
        assert understood(call.split()).conf_file == variables["CONF"]
    assert (bool(done.stdout), done.stderr) == (mails, "")
    assert "hunter2" not in done.stdout
    assert "secret is hunter2" in (tmp_path / "log").read_text(encoding="utf-8")


def test_cron_says_so_where_the_checkout_is_gone(tmp_path: Path) -> None:
    variables, _, command = cron_line()
    done = subprocess.run(
        ["sh", "-c", command],
        env={
            **variables,
            "ISRF": str(tmp_path / "gone"),
            "LOG": str(tmp_path / "log"),
            "PATH": os.environ["PATH"],
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "exit code 127" in done.stdout


def test_the_cron_line_is_one_that_cron_takes() -> None:
    variables, schedule, command = cron_line()
    assert re.fullmatch(r"\d+ \d+ \* \* \*", schedule)
    # cron makes a line end of it, and hands the rest to the command as its input.
    assert "%" not in command
    assert variables["SHELL"] == "/bin/sh" and "MAILTO" in variables
    assert (ROOT / variables["CONF"]).is_file()


# systemd

#: From systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5) and systemd.timer(5).
UNIT_KEYS = {
    "Unit": {"Description", "Documentation", "Wants", "After", "OnFailure", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "User", "WorkingDirectory", "EnvironmentFile", "ExecStart", "SuccessExitStatus", "Restart",
        "RestartSec", "RestartPreventExitStatus", "KillSignal", "KillMode", "TimeoutStopSec", "Nice",
        "NoNewPrivileges", "ProtectSystem", "SyslogIdentifier", "SyslogLevel",
    },
    "Timer": {"OnCalendar", "AccuracySec", "Persistent"},
    "Install": {"WantedBy"},
}  # fmt: skip


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name, encoding="utf-8")
    return parser


def test_units_have_known_keys_only() -> None:
    files = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
    assert files == ["isrf-alert.service", "isrf-nightly.service", "isrf-nightly.timer"]
    for name in files:
        for section in unit(name).sections():
            assert set(unit(name)[section]) <= UNIT_KEYS[section], name


def test_the_service_retries_what_a_retry_can_mend() -> None:
    service = unit("isrf-nightly.service")["Service"]
    assert set(service["SuccessExitStatus"].split()) == {"5", "130"}
    assert service["Restart"] == "on-failure"
    assert set(service["RestartPreventExitStatus"].split()) == {"2", "3", "4"}
    assert unit("isrf-nightly.service")["Unit"]["OnFailure"] == "isrf-alert.service"


def test_units_call_commands_that_exist() -> None:
    for name in ("isrf-nightly.service", "isrf-alert.service"):
        service = unit(name)["Service"]
        program, *arguments = service["ExecStart"].split()
        assert program == f"{service['WorkingDirectory']}/.venv/bin/isrf"
        assert (ROOT / understood(arguments).conf_file).is_file()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    for file in (DEPLOY / "systemd").iterdir():
        text = file.read_text(encoding="utf-8").replace("/opt/isrf/.venv/bin/isrf", "/bin/true")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *sorted(str(file) for file in tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    when = unit("isrf-nightly.timer")["Timer"]["OnCalendar"]
    assert (
        subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, check=False).returncode
        == 0
    )


# Airflow


class Anything:
    """Takes whatever it is given, and is a context."""

    def __init__(self, *values: Any, **options: Any) -> None:
        self.values, self.options = values, options

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class Failed(Exception):
    pass


class FailedForGood(Failed):
    pass


class Skipped(Exception):
    pass


@pytest.fixture
def dag_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """The DAG file, imported with a stand-in for Airflow that remembers what it is told."""
    names = {
        "airflow.sdk": {
            name: type(name, (Anything,), {})
            for name in ("DAG", "BaseOperator", "Param", "CronTriggerTimetable")
        },
        "airflow.sdk.exceptions": {
            "AirflowException": Failed,
            "AirflowFailException": FailedForGood,
            "AirflowSkipException": Skipped,
        },
        "airflow.providers.standard.hooks.subprocess": {"SubprocessHook": Anything},
    }
    for name, contents in names.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            parent = ".".join(parts[:depth])
            if parent not in names:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    file = DEPLOY / "airflow" / "isrf_nightly.py"
    spec = importlib.util.spec_from_file_location("isrf_nightly_dag", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (0, None),
        (1, Failed),
        (2, FailedForGood),
        (3, FailedForGood),
        (4, FailedForGood),
        (5, Skipped),
        (130, Failed),
    ],
)
def test_the_dag_tells_airflow_what_an_exit_code_means(
    dag_file: types.ModuleType, code: int, raised: type[Exception] | None
) -> None:
    called = []

    def run_command(command: list[str], cwd: str) -> Any:
        called.append((command, cwd))
        return types.SimpleNamespace(exit_code=code)

    night = dag_file.NightOperator(task_id="night", run_date="2026-06-30")
    night._process = types.SimpleNamespace(run_command=run_command)
    if raised is None:
        night.execute({})
    else:
        with pytest.raises(raised) as caught:
            night.execute({})
        assert type(caught.value) is raised
    ((command, folder),) = called
    assert (folder, command[0]) == ("/opt/isrf", ".venv/bin/isrf")
    told = understood(command[1:])
    assert (ROOT / told.conf_file).is_file()
    assert told.run_date == "2026-06-30"


def test_one_night_at_a_time_and_none_made_up_for(dag_file: types.ModuleType) -> None:
    options = dag_file.dag.options
    assert (options["max_active_runs"], options["catchup"]) == (1, False)


# Databricks


def databricks(name: str) -> Any:
    return yaml.safe_load((DEPLOY / "databricks" / name).read_text(encoding="utf-8"))


def the_job() -> schemas.Job:
    bundle = schemas.Bundle.model_validate(databricks("databricks.yml"))
    (file,) = bundle.include
    (job,) = schemas.BundleResources.model_validate(databricks(file)).resources.jobs.values()
    return job


def test_the_databricks_job_has_a_task_for_each_stage_in_their_order() -> None:
    tasks = the_job().tasks
    assert [task.task_key for task in tasks] == list(STAGE_NAMES)
    before = [[], *[[name] for name in STAGE_NAMES[:-1]]]
    assert [[needed.task_key for needed in task.depends_on] for task in tasks] == before
    for task in tasks:
        file = (DEPLOY / "databricks" / task.spark_python_task.python_file).resolve()
        assert file == ROOT / "jobs" / f"{task.task_key}.py" and file.is_file()


def test_databricks_tasks_are_called_with_options_that_exist() -> None:
    job = the_job()
    clusters = {cluster.job_cluster_key for cluster in job.job_clusters}
    (run_date,) = [parameter.default for parameter in job.parameters if parameter.name == "run_date"]
    for task in job.tasks:
        told = understood(["run", task.task_key, *task.spark_python_task.parameters])
        assert told.conf_file == "${workspace.file_path}/${var.conf_file}"
        assert told.run_date == "{{job.parameters.run_date}}"
        assert task.job_cluster_key in clusters
    parse_run_date(run_date.replace("{{job.start_time.iso_date}}", "2026-07-01"))


def test_databricks_tries_again_only_what_a_retry_can_mend() -> None:
    tasks = {task.task_key: task for task in the_job().tasks}
    assert {name for name, task in tasks.items() if task.max_retries == 0} == {"ingest", "evaluate"}
    waits = [task.min_retry_interval_millis for task in tasks.values() if task.max_retries]
    assert min(waits) > LEASE_SECONDS * 1000


def test_the_bundle_names_files_that_exist_and_variables_that_it_declares() -> None:
    bundle = schemas.Bundle.model_validate(databricks("databricks.yml"))
    folder = DEPLOY / "databricks"
    assert {(folder / path).resolve() for path in bundle.sync.paths} == {ROOT / "jobs", ROOT / "conf"}
    assert (ROOT / str(bundle.variables["conf_file"].default)).is_file()
    used = set(re.findall(r"\$\{var\.(\w+)\}", (folder / bundle.include[0]).read_text(encoding="utf-8")))
    assert used == set(bundle.variables)


# Kubernetes


def kubernetes(name: str) -> Any:
    return yaml.safe_load((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8"))


def test_the_spark_application_runs_the_night_of_the_image() -> None:
    spec = schemas.ScheduledSparkApplication.model_validate(kubernetes("nightly.yaml")).spec
    night = spec.template
    pinned = (ROOT / "requirements" / "common.in").read_text(encoding="utf-8")
    assert f"pyspark=={night.sparkVersion}\n" in pinned
    assert night.mainApplicationFile == "local:///opt/isrf/jobs/nightly.py"
    image = (ROOT / "docker" / "Dockerfile.spark").read_text(encoding="utf-8")
    assert "WORKDIR /opt/isrf\n" in image and "COPY jobs jobs\n" in image
    told = understood(["nightly", *night.arguments])
    (mounted,) = night.driver.configMaps
    assert told.conf_file.startswith(f"{mounted.path}/") and told.run_date is None
    assert spec.concurrencyPolicy == "Forbid"
    assert night.restartPolicy.onFailureRetryInterval > LEASE_SECONDS


def test_one_night_is_the_same_application_for_a_day() -> None:
    scheduled = schemas.ScheduledSparkApplication.model_validate(kubernetes("nightly.yaml")).spec.template
    once = schemas.SparkApplication.model_validate(kubernetes("one-night.yaml")).spec
    *same, option, day = once.arguments
    assert option == "--run-date" and parse_run_date(day)
    assert once.model_copy(update={"arguments": same}) == scheduled


def called_in_a_pod(tmp_path: Path, program: str, role: list[str], variables: dict[str, str]) -> list[str]:
    """Arguments with which the image's entry point starts ``program``."""
    stub = tmp_path / program
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    stub.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", str(ROOT / "docker" / "cluster.sh"), *role]
    done = subprocess.run(
        command, env={"PATH": path, **variables}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_image_starts_the_driver_of_a_pod(tmp_path: Path) -> None:
    role = [
        "driver",
        "--properties-file",
        "/opt/spark/conf/spark.properties",
        "local:///opt/isrf/jobs/nightly.py",
        "--x",
    ]
    found = called_in_a_pod(tmp_path, "spark-submit", role, {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.1"})
    assert found == ["--deploy-mode", "client", "--conf", "spark.driver.bindAddress=10.0.0.1", *role[1:]]


def test_the_image_starts_an_executor_with_all_that_spark_hands_over(tmp_path: Path) -> None:
    handed = {
        "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@driver:7078",
        "SPARK_EXECUTOR_ID": "3",
        "SPARK_EXECUTOR_CORES": "4",
        "SPARK_EXECUTOR_MEMORY": "8g",
        "SPARK_APPLICATION_ID": "spark-1",
        "SPARK_EXECUTOR_POD_IP": "10.0.0.2",
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_EXECUTOR_POD_NAME": "isrf-exec-3",
        "SPARK_CLASSPATH": "/opt/isrf/.venv/isrf/jars/*",
        "SPARK_HOME": "/opt/spark",
        **{f"SPARK_JAVA_OPT_{number}": f"-Doption={number}" for number in range(11)},
    }
    found = called_in_a_pod(tmp_path, "java", ["executor"], handed)
    assert found[:11] == [f"-Doption={number}" for number in range(11)]
    backend = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
    assert found[11:16] == [
        "-Xms8g",
        "-Xmx8g",
        "-cp",
        "/opt/isrf/.venv/isrf/jars/*:/opt/spark/jars/*",
        backend,
    ]
    options = dict(zip(found[16::2], found[17::2], strict=True))
    assert options == {
        "--driver-url": handed["SPARK_DRIVER_URL"],
        "--executor-id": "3",
        "--cores": "4",
        "--app-id": "spark-1",
        "--hostname": "10.0.0.2",
        "--resourceProfileId": "0",
        "--podName": "isrf-exec-3",
    }


def test_the_executor_that_the_image_starts_is_in_spark() -> None:
    import zipfile

    import pyspark

    (jar,) = (Path(pyspark.__file__).parent / "jars").glob("spark-kubernetes_*.jar")
    with zipfile.ZipFile(jar) as content:
        assert "org/apache/spark/scheduler/cluster/k8s/KubernetesExecutorBackend.class" in content.namelist()


def test_no_scheduler_holds_a_secret_itself() -> None:
    for file in (path for path in DEPLOY.rglob("*") if path.is_file()):
        for name, value in re.findall(r"(ISRF_SECRET_\w+)\s*[:=]\s*(\S+)", file.read_text(encoding="utf-8")):
            assert name.endswith("_NAME") or value.startswith('"{{secrets/'), (file, name)
