# shellcheck shell=bash
# What ./test and ./demo share: packages, stages with their times.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${GLEANER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gleaner}
stages=()
begin_all=$SECONDS

say() { printf '== %s\n' "$*"; }

# stage NAME ESTIMATE COMMAND...: says what starts and how long it may take, runs it, notes the time.
stage() {
    local name=$1 estimate=$2 start=$SECONDS status=0
    shift 2
    say "$name${estimate:+ ($estimate)}"
    "$@" || status=$?
    stages+=("$(printf '%6d s  %s' $((SECONDS - start)) "$name")")
    return $status
}

say_times() {
    [ ${#stages[@]} -eq 0 ] || { say "where the time went"; printf '%s\n' "${stages[@]}"; }
    printf '%6d s  in all\n' $((SECONDS - begin_all))
}

require_machine() {
    [ "$(id -u)" -eq 0 ] || { echo "run this as root: it installs packages and makes network devices, mounts and containers" >&2; return 1; }
    command -v apt-get >/dev/null || { echo "this needs Debian 12 (apt-get)" >&2; return 1; }
    local minor
    minor=$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p')
    [ "${minor:-0}" -ge 25 ] || { echo "no Go 1.25 or newer on PATH: the test cluster is built with it. Install it from go.dev/dl, then run this again" >&2; return 1; }
}

# install_packages FILE...: those of the named lists that are missing.
install_packages() {
    local missing
    missing=$(cat "$@" | grep -vE '^(#|$)' | sort -u | while read -r name; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || echo "$name"
    done)
    [ -n "$missing" ] || { echo "nothing is missing"; return 0; }
    echo "installing: $(tr '\n' ' ' <<<"$missing")"
    export DEBIAN_FRONTEND=noninteractive
    # The package lists may be absent or too old; they are fetched only then.
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >"$cache/apt.log" 2>&1 ||
        { apt-get update -q >>"$cache/apt.log" 2>&1 &&
            apt-get install -y -q --no-install-recommends $missing >>"$cache/apt.log" 2>&1; } ||
        { tail -n 5 "$cache/apt.log" >&2; echo "the packages cannot be installed; all of the output is in $cache/apt.log" >&2; return 1; }
    # Debian starts a containerd and a redis of its own with the packages; ours run beside them.
}

# components_missing: how many programs of the test cluster are not built yet.
components_missing() {
    local name mod version rest n=0
    # shellcheck disable=SC2034
    while read -r name mod version rest; do
        case $name in '' | '#'*) continue ;; esac
        [ -x "$cache/bin/$name-$version" ] || n=$((n + 1))
    done <"$top/tests/cluster/components.txt"
    echo $n
}

# build PRESET [TARGET...]
build() {
    local preset=$1
    shift
    mkdir -p "$top/build"
    { cmake --preset "$preset" && nice ninja -C "$top/build/$preset" "$@"; } >"$top/build/$preset.log" 2>&1 ||
        { tail -n 25 "$top/build/$preset.log" >&2; echo "the $preset build failed; all of it is in build/$preset.log" >&2; return 1; }
}
