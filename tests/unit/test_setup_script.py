"""The set-up script on machines that lack something, played by small programs in a PATH of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What the script may call besides the programs that a test replaces.
TOOLS = [
    "awk",
    "bash",
    "cat",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "flock",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "tail",
    "tr",
    "uname",
]
JAVA_17 = "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2"
PYTHON_311 = 'if [[ "$2" == *version_info* ]]; then echo 3.11; fi'
DISK = "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo '/dev/x 1 1 {} 1% /'"
GIB_IN_KIB = 1024 * 1024


class Machine:
    """A PATH that holds some programs of a machine and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.venv = folder / "venv"
        for tool in TOOLS:
            found = next(path for path in (Path("/usr/bin") / tool, Path("/bin") / tool) if path.exists())
            (self.bin / tool).symlink_to(found)
        self.fake("java", JAVA_17)
        self.fake("python3.11", PYTHON_311)
        self.fake("df", DISK.format(50 * GIB_IN_KIB))
        self.fake("id", "echo 1000")

    def fake(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.bin / name).unlink()

    def set_up(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": str(self.bin),
            "HOME": str(self.bin.parent),
            "ISRF_VENV": str(self.venv),
            **variables,
        }
        return subprocess.run(
            [str(ROOT / "scripts" / "setup.sh"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def refused(self, *arguments: str, **variables: str) -> str:
        """The one line with which the script refuses this machine."""
        done = self.set_up(*(arguments or ("--check",)), **variables)
        assert done.returncode == 2, done.stdout + done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        return lines[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_good_machine_is_accepted_and_left_alone(machine: Machine) -> None:
    done = machine.set_up("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cpu list" in done.stdout
    assert not machine.venv.exists()


def test_a_gpu_chooses_the_other_list(machine: Machine) -> None:
    machine.fake("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
    assert "gpu list" in machine.set_up("--check").stdout
    assert "cpu list" in machine.set_up("--check", ISRF_MACHINE="cpu").stdout


def test_java_11_is_refused(machine: Machine) -> None:
    machine.fake("java", "echo 'openjdk version \"11.0.20\" 2023-07-18' >&2")
    line = machine.refused()
    assert "java is Java 11" in line
    assert "openjdk-17-jre-headless" in line


def test_java_8_tells_its_version_the_old_way(machine: Machine) -> None:
    machine.fake("java", "echo 'java version \"1.8.0_402\"' >&2")
    assert "java is Java 8" in machine.refused()


def test_no_java_is_refused_where_nothing_may_be_installed(machine: Machine) -> None:
    machine.remove("java")
    assert "no Java is in PATH" in machine.refused()
    machine.fake("id", "echo 0")
    assert "no Java is in PATH" in machine.refused(ISRF_APT="0")


def test_java_home_counts_more_than_path(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    java = tmp_path / "jdk" / "bin" / "java"
    java.write_text("#!/bin/bash\necho 'openjdk version \"11.0.2\"' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    line = machine.refused(JAVA_HOME=str(tmp_path / "jdk"))
    assert f"JAVA_HOME={tmp_path / 'jdk'} is Java 11" in line


def test_root_on_debian_gets_java_installed(machine: Machine, tmp_path: Path) -> None:
    machine.remove("java")
    machine.fake("id", "echo 0")
    (tmp_path / "debian_version").touch()
    install = f"""echo "$*" >>{tmp_path}/apt.log
if [[ "$*" == *openjdk-17* ]]; then
  printf '#!/bin/bash\\n%s\\n' "echo 'openjdk version \\"17.0.15\\"' >&2" >{machine.bin}/java
fi
[[ ! -e {machine.bin}/java ]] || {sys.executable} -c 'import os; os.chmod("{machine.bin}/java", 0o755)'"""
    machine.fake("apt-get", install)
    done = machine.set_up("--check", ISRF_DEBIAN_MARK=str(tmp_path / "debian_version"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "openjdk-17-jre-headless" in (tmp_path / "apt.log").read_text(encoding="utf-8")


def test_apt_that_fails_is_one_line_too(machine: Machine, tmp_path: Path) -> None:
    machine.remove("java")
    machine.fake("id", "echo 0")
    machine.fake("apt-get", "echo 'E: Unable to locate package'; exit 100")
    (tmp_path / "debian_version").touch()
    assert "could not install one" in machine.refused(ISRF_DEBIAN_MARK=str(tmp_path / "debian_version"))


def test_python_3_9_is_refused(machine: Machine) -> None:
    machine.remove("python3.11")
    machine.fake("python3", "echo 3.9")
    assert "python3 is Python 3.9" in machine.refused()


def test_python3_serves_when_it_is_3_11(machine: Machine) -> None:
    machine.remove("python3.11")
    machine.fake("python3", PYTHON_311)
    assert machine.set_up("--check").returncode == 0


def test_no_python_is_refused(machine: Machine) -> None:
    machine.remove("python3.11")
    assert "no python3 is in PATH" in machine.refused()


def test_the_python_that_is_named_must_fit(machine: Machine) -> None:
    machine.fake("python3.12", "echo 3.12")
    line = machine.refused(PYTHON="python3.12")
    assert "PYTHON=python3.12 is Python 3.12" in line


def test_a_python_without_venv_is_refused(machine: Machine) -> None:
    machine.fake("python3.11", 'if [[ "$2" == *version_info* ]]; then echo 3.11; else exit 1; fi')
    assert "apt-get install python3.11-venv" in machine.refused()


def test_a_missing_libnuma_is_refused_on_cpu_machines_only(machine: Machine) -> None:
    machine.fake(
        "python3.11",
        'if [[ "$2" == *version_info* ]]; then echo 3.11; fi; [[ "$2" != *libnuma* ]]',
    )
    assert "libnuma" in machine.refused()
    assert machine.set_up("--check", ISRF_MACHINE="gpu").returncode == 0


def test_a_missing_libgomp_is_refused(machine: Machine) -> None:
    machine.fake(
        "python3.11",
        'if [[ "$2" == *version_info* ]]; then echo 3.11; fi; [[ "$2" != *libgomp* ]]',
    )
    assert "libgomp" in machine.refused()


def test_a_full_disk_is_refused(machine: Machine) -> None:
    machine.fake("df", DISK.format(3 * GIB_IN_KIB))
    line = machine.refused()
    assert "about 10 GB must be free" in line
    assert "but 3 GB are" in line
    assert machine.set_up("--check", ISRF_MIN_FREE_GB="2").returncode == 0


def test_another_platform_is_refused(machine: Machine) -> None:
    machine.remove("uname")
    machine.fake("uname", '[[ "$1" == -s ]] && echo Darwin || echo arm64')
    assert "Darwin arm64" in machine.refused()


def test_wrong_usage_is_refused(machine: Machine) -> None:
    assert "--chekc is not known" in machine.refused("--chekc")
    assert "ISRF_MACHINE=tpu" in machine.refused("--check", ISRF_MACHINE="tpu")


def test_a_folder_that_cannot_be_made_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = machine.set_up(ISRF_VENV=str(tmp_path / "file" / "venv"))
    assert done.returncode == 2
    assert "no write permission" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unreachable_index_is_one_line(tmp_path: Path) -> None:
    """With the real Python, up to the first thing that has to be fetched."""
    python = Path(sys.base_prefix) / "bin" / "python3.11"
    if not python.exists():
        pytest.fail(f"{python} is missing, so the set-up cannot be run")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHON": str(python),
        "ISRF_VENV": str(tmp_path / "venv"),
        "ISRF_APT": "0",
        "ISRF_MIN_FREE_GB": "0",
        "ISRF_MACHINE": "cpu",
        # Nothing listens on the discard port.
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
    }
    command = [str(ROOT / "scripts" / "setup.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "package index cannot be reached" in done.stderr
    # The next run must know that this environment is not whole.
    assert (tmp_path / "venv" / "isrf" / "packages-unfinished").exists()
