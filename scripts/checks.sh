# What the machine must have before anything is installed; sourced by setup.sh.
#
# Every check says in one line what is wrong and what to do, and ends the set-up with exit code 2. All facts come from
# programs found through PATH (java, python3, df, id, nvidia-smi), which is also how the tests replace them.

# fail MESSAGE: one line for the person, exit code 2. File descriptor 3 is the caller's standard error.
fail() {
  if [[ -n "${PENDING_STEP:-}" && -t 1 ]]; then printf '\n'; fi
  printf 'set-up: %s\n' "$*" >&3
  exit 2
}

# Whether missing Debian packages may be installed here; ISRF_APT=0 forbids it.
can_use_apt() {
  [[ "${ISRF_APT:-1}" != 0 && "$(id -u)" == 0 && -e "${ISRF_DEBIAN_MARK:-/etc/debian_version}" ]] &&
    command -v apt-get >/dev/null
}

# install_debian PACKAGE...
install_debian() {
  printf 'set-up: installing Debian packages: %s\n' "$*"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
    >>"$LOG" 2>&1
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Sets BASE_PYTHON to a Python 3.11: PYTHON if given, else python3.11, else a python3 that is 3.11.
check_python() {
  local candidate found
  if [[ -n "${PYTHON:-}" ]]; then
    found="$(python_version "$PYTHON" || true)"
    [[ "$found" == 3.11 ]] ||
      fail "PYTHON=$PYTHON is ${found:+Python }${found:-no Python}; the pinned lists are for Python 3.11: name a python3.11 in PYTHON, or unset it."
    BASE_PYTHON="$PYTHON"
    return
  fi
  for candidate in python3.11 python3; do
    if [[ "$(python_version "$candidate" || true)" == 3.11 ]]; then
      BASE_PYTHON="$candidate"
      return
    fi
  done
  found="$(python_version python3 || true)"
  fail "Python 3.11 is needed, but ${found:+python3 is Python }${found:-no python3 is in PATH}: install Python 3.11, or name one with PYTHON=/path/to/python3.11."
}

# Debian splits the venv module off: without it, python3 -m venv fails half-way.
check_venv_module() {
  "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null && return
  if can_use_apt && install_debian python3.11-venv && "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    return
  fi
  fail "$BASE_PYTHON has no venv module: run apt-get install python3.11-venv, or name another Python 3.11 in PYTHON."
}

# The program that Spark will start.
java_program() { if [[ -n "${JAVA_HOME:-}" ]]; then echo "$JAVA_HOME/bin/java"; else echo java; fi; }

# Prints the major version of the java that Spark will start; nothing where there is none.
java_major() {
  local line
  line="$("$(java_program)" -version 2>&1 | grep -m1 -E ' version "')" || return 0
  sed -E 's/.* version "(1\.)?([0-9]+).*/\2/' <<<"$line"
}

check_java() {
  local major what
  major="$(java_major)"
  if [[ -n "$major" && "$major" -ge 17 ]]; then return; fi
  what="${major:+$(java_program) is Java $major}"
  what="${what:-no Java is in PATH}"
  if [[ -n "${JAVA_HOME:-}" ]]; then
    fail "Spark needs Java 17 or newer, but JAVA_HOME=$JAVA_HOME ${major:+is Java }${major:-holds no Java}: point JAVA_HOME at a JDK 17, or unset it."
  fi
  if can_use_apt; then
    install_debian openjdk-17-jre-headless || install_debian openjdk-21-jre-headless ||
      fail "Spark needs Java 17 or newer, but $what and apt-get could not install one: see $LOG, then install a JDK 17."
    major="$(java_major)"
    if [[ -n "$major" && "$major" -ge 17 ]]; then return; fi
    fail "Java 17 is installed, but java is still Java ${major:-unknown}: set JAVA_HOME to the folder of Java 17 under /usr/lib/jvm."
  fi
  fail "Spark needs Java 17 or newer, but $what: install one (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME."
}

has_library() {
  "$BASE_PYTHON" -c "import ctypes; ctypes.CDLL('$1')" 2>/dev/null
}

# Libraries that small images lack: LightGBM is linked with libgomp, vLLM's CPU build with libnuma.
check_libraries() {
  if ! has_library libgomp.so.1; then
    { can_use_apt && install_debian libgomp1; } ||
      fail "LightGBM needs the library libgomp.so.1: install it (Debian: apt-get install libgomp1; Fedora: dnf install libgomp)."
  fi
  if [[ "$MACHINE" == gpu ]] || has_library libnuma.so.1; then return; fi
  { can_use_apt && install_debian libnuma1; } ||
    fail "vLLM on a CPU needs the library libnuma.so.1: install it (Debian: apt-get install libnuma1; Fedora: dnf install numactl-libs)."
}

check_platform() {
  local system
  system="$(uname -s) $(uname -m)"
  [[ "$system" == "Linux x86_64" ]] ||
    fail "the pinned lists are for Linux x86_64, but this is $system: use the images under docker/, or pip install the package with the extras you need."
}

# check_disk FOLDER GIGABYTES
check_disk() {
  local folder="$1" needed="${ISRF_MIN_FREE_GB:-$2}" free
  while [[ ! -e "$folder" ]]; do folder="$(dirname "$folder")"; done
  free="$(df -Pk "$folder" | awk 'NR == 2 { printf "%d", $4 / 1048576 }')"
  [[ "$free" -ge "$needed" ]] ||
    fail "about $needed GB must be free at $folder, but $free GB are: free some, or set ISRF_VENV (and UV_CACHE_DIR) to a larger disk."
}

# Sets MACHINE to cpu or gpu; ISRF_MACHINE decides where there is no GPU to see yet, as while an image is built.
find_machine() {
  case "${ISRF_MACHINE:-auto}" in
    cpu | gpu) MACHINE="$ISRF_MACHINE" ;;
    auto) if nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then MACHINE=gpu; else MACHINE=cpu; fi ;;
    *) fail "ISRF_MACHINE=$ISRF_MACHINE is not known: use cpu, gpu or auto." ;;
  esac
}
