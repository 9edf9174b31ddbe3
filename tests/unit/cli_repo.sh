#!/usr/bin/env bash
# The verbs of `gleaner repo` and the exit codes, judged by stock restic: cli_repo.sh GLEANER
set -euo pipefail
gleaner=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password RESTIC_CACHE_DIR=$work/cache
echo 'a password of more than 128 bits' >"$work/password"
fail() { echo "cli_repo: $*" >&2; exit 1; }
expect() { # CODE COMMAND...: what it says is in $said
    local code=$1 status=0
    shift
    said=$("$@" 2>&1) || status=$?
    [ $status -eq "$code" ] || fail "$*: exit code $status, not $code: $said"
}

mkdir -p "$work/tree/a/b" && ln -s target "$work/tree/a/link"
echo text >"$work/tree/a/b/text"; : >"$work/tree/empty"; head -c 3000000 /dev/urandom >"$work/tree/large"
chmod 0700 "$work/tree/a"; touch -d '2020-01-02 03:04:05' "$work/tree/a/b/text"
chown 999:998 "$work/tree"; chmod 2750 "$work/tree"; chmod 0711 "$work"; touch -d '2020-01-02 03:04:05.678' "$work/tree"
named=$(stat -c '%a %u:%g %y' "$work/tree")

expect 10 "$gleaner" repo snapshots
[[ $said == *"repo init"* ]] || fail "a missing repository: no next step: $said"
expect 0 "$gleaner" repo init
expect 1 "$gleaner" repo init
expect 0 "$gleaner" repo backup --tag nightly "$work/tree"
echo x >"$work/tree/odd" && python3 -c 'import os, sys; os.setxattr(sys.argv[1], b"user.\xff", b"x")' "$work/tree/odd"
expect 3 "$gleaner" repo backup "$work/tree"
[[ $said == *odd*"not UTF-8"* ]] || fail "what no tree can hold is not named: $said"
rm "$work/tree/odd"
expect 0 "$gleaner" repo snapshots --json
[ "$(jq length <<<"$said")" = 2 ] || fail "not two snapshots: $said"
first=$(jq -r '.[] | select(.tags == ["nightly"]) | .id' <<<"$said")
expect 0 "$gleaner" repo ls --recursive "$first" "$work/tree/a"
[[ $said == *"$work/tree/a/b/text"* ]] || fail "ls lacks a file: $said"

restic check --read-data >"$work/check" 2>&1 || fail "restic check: $(cat "$work/check")"
restic restore "$first" --target "$work/out" >/dev/null
diff -r --no-dereference "$work/tree" "$work/out$work/tree" || fail "restic restores something else"
[ "$(stat -c '%a %Y' "$work/tree/a" "$work/tree/a/b/text")" = "$(cd "$work/out$work/tree" && stat -c '%a %Y' a a/b/text)" ] ||
    fail "modes or times differ"
[ "$named" = "$(stat -c '%a %u:%g %y' "$work/out$work/tree")" ] || fail "the named directory is not as it was"
[ "$(stat -c %a "$work")" = "$(stat -c %a "$work/out$work")" ] || fail "the directory above it is not as it was"
expect 0 "$gleaner" repo backup --json --tag a,b --tag c --host elsewhere --time '2021-02-03 04:05:06' "$work/tree"
named=$(jq -r .snapshot_id <<<"$said")
[ "$(TZ=UTC restic snapshots --json "$named" | jq -c '.[0] | [.tags, .hostname, .time[:10]]')" = '[["a","b","c"],"elsewhere","2021-02-03"]' ] ||
    fail "tags, host or time: $(restic snapshots --json "$named")"
expect 0 env RESTIC_HOST=there "$gleaner" repo backup -q --compression max --pack-size 8 "$work/tree"
[ "$(restic snapshots --json --host there | jq length)" = 1 ] || fail "RESTIC_HOST is not honoured"
restic forget -q --host there --host elsewhere --keep-tag none --keep-last 1 --group-by '' >/dev/null
restic forget -q "$(restic snapshots --json --host there | jq -r '.[0].id')"
restic backup -q "$work/tree"
expect 0 "$gleaner" repo snapshots
[ "$(grep -c "$work/tree" <<<"$said")" = 3 ] || fail "restic's own snapshot is not listed: $said"
[ -z "$(restic list locks)" ] || fail "a lock is left"

echo wrong >"$work/wrong"
expect 12 "$gleaner" repo snapshots -p "$work/wrong"
expect 1 "$gleaner" repo snapshots -p "$work/none"
expect 1 "$gleaner" repo ls ffffffff
expect 1 "$gleaner" repo backup "$work/tree/empty"
expect 2 "$gleaner" repo
expect 2 "$gleaner" repo ls
expect 2 "$gleaner" repo ls --bogus
expect 2 "$gleaner" nothing
expect 2 "$gleaner" plan
expect 2 "$gleaner" plan deployment/x
expect 0 "$gleaner" version
expect 0 "$gleaner" plan --help
ln -s "$gleaner" "$work/kubectl-gleaner"
expect 0 "$work/kubectl-gleaner" help
[[ $said == *"kubectl gleaner"* ]] || fail "as a plugin it calls itself otherwise: $said"
