#!/usr/bin/env bash
# The verbs of `gleaner repo` that change or remove, judged by stock restic:
# cli_repo_write.sh GLEANER STORE_TOOL
set -euo pipefail
gleaner=$1 tool=$2
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password RESTIC_CACHE_DIR=$work/cache TZ=UTC
echo 'a password of more than 128 bits' >"$work/password"
echo 'another password, also of more' >"$work/password2"
fail() { echo "cli_repo_write: $*" >&2; exit 1; }
code() { # CODE ARGUMENTS...
    local want=$1 is=0
    shift
    "$gleaner" repo "$@" >"$work/out" 2>"$work/err" || is=$?
    [ $is -eq "$want" ] || fail "$*: exit code $is, not $want: $(cat "$work/out" "$work/err")"
}
whole() {
    restic check --read-data >"$work/check" 2>&1 || fail "$1: restic check: $(cat "$work/check")"
    "$gleaner" repo check --read-data >"$work/check" 2>&1 || fail "$1: check: $(cat "$work/check")"
}

cd "$work"
mkdir -p tree other
restic init -q
cheapen() { "$tool" cheapen "$work/repo" "$(cat password)"; }
cheapen
# Snapshots over two years, of two hosts and paths, some tagged.
for when in 2022-03-01 2022-12-31 2023-01-01 2023-06-15 2023-12-30 2023-12-31; do
    echo "$when" >tree/file
    restic backup -q --host alpha --time "$when 12:00:00" "$work/tree"
done
for hour in 01 02 03 23; do
    echo "$hour" >other/file
    restic backup -q --host beta --tag "h$hour,nightly" --time "2024-01-01 $hour:30:00" "$work/other"
done
cp -a repo repo.whole

# ---- forget --dry-run: the same groups, the same snapshots kept and removed, the same reasons
groups='jq -S "[.[] | {host, paths, tags, keep: ((.keep // []) | map(.id) | sort), remove: ((.remove // []) | map(.id) | sort), reasons: ((.reasons // []) | map({id: .snapshot.id, matches}) | sort_by(.id))}] | sort_by(.host, .paths, .tags)"'
policies=0
# Since 0.17 restic keeps the oldest snapshot too while a count is not used up, as we do: those
# policies are judged by the newer one alone.
newer=$("$here/../../bench/peers" --where restic 2>/dev/null) || newer=
[ "$newer" ] || echo "note: some policies are not compared: bench/peers has built no newer restic"
new_policy() { [ -z "$newer" ] || judge=$newer policy "$@"; }
policy() {
    "${judge-restic}" forget --dry-run --json "$@" 2>/dev/null | eval "$groups" >theirs
    "$gleaner" repo forget --dry-run --json "$@" 2>err | eval "$groups" >ours || fail "forget $*: $(cat err)"
    jq -e 'length > 0' theirs >/dev/null || fail "forget $*: restic told nothing"
    # The older restic gives the reasons by the snapshot's short form only.
    jq -S 'map(del(.reasons))' theirs >theirs.sets
    jq -S 'map(del(.reasons))' ours >ours.sets
    cmp -s theirs.sets ours.sets || fail "forget $*: $(diff theirs.sets ours.sets)"
    diff <(jq -S '[.[].reasons[].matches] | sort' theirs) <(jq -S '[.[].reasons[].matches] | sort' ours) || fail "forget $*: other reasons"
    policies=$((policies + 1))
}
policy --keep-last 1
policy --keep-last 1 --keep-yearly 1
policy --keep-hourly 2
new_policy --keep-last 2 --keep-yearly 2
new_policy -d 2 -w 2 -m 2 -y 1
new_policy -H 3 --keep-monthly 20 --group-by ''
new_policy --keep-daily unlimited
policy --keep-within 1d
policy --keep-within 1y
new_policy --keep-within-monthly 2y --keep-last 1
new_policy --keep-within-hourly 2h --keep-daily 1
policy --keep-tag h01 --keep-last 1
policy --keep-tag h01,nightly --keep-tag h03 --keep-last 1
policy --keep-last 3 --host beta
policy --keep-last 1 --tag nightly
policy --keep-last 1 --path "$work/tree"
policy --keep-last 1 --group-by ''
policy --keep-last 1 --group-by host
policy --keep-last 1 --group-by host,tags
policy --keep-last 1 --group-by tags,paths
[ "$("$gleaner" repo list snapshots | wc -l)" = 10 ] || fail "a dry run removed something"

# ---- what is refused
code 2 forget
code 2 forget --keep-last -1
code 2 forget --keep-last x
code 2 forget --keep-within 3x
code 2 forget --keep-last 1 --group-by color
code 2 forget --unsafe-allow-remove-all
code 2 forget --keep-last 1 deadbeef
code 1 forget deadbeef
code 1 forget --keep-tag nowhere # would keep nothing
[ "$("$gleaner" repo list snapshots | wc -l)" = 10 ] || fail "what was refused removed something"
code 2 prune --max-unused many
code 2 prune --max-repack-size many

# ---- forget and prune
code 0 forget --keep-last 2 --keep-hourly 3
cp -a repo repo.ours
rm -rf repo; cp -a repo.whole repo
restic forget -q --keep-last 2 --keep-hourly 3
diff <(ls repo/snapshots) <(ls repo.ours/snapshots) || fail "forget keeps other snapshots than restic"
rm -rf repo; mv repo.ours repo
victim=$(restic snapshots --json | jq -r '.[0].id')
code 0 forget "${victim:0:10}"
[ ! -e "repo/snapshots/$victim" ] || fail "forget ID removed nothing"
whole "after forget"
code 0 prune --dry-run
grep -q 'to repack' out || fail "prune --dry-run: $(cat out)"
before=$(restic list packs | sort | sha256sum)
[ "$before" = "$(restic list packs | sort | sha256sum)" ] || fail "prune --dry-run changed something"
code 0 prune --json --max-unused 0
[ "$(jq '.removed_bytes > 0' out)" = true ] || fail "prune removed nothing: $(cat out)"
whole "after prune"
restic prune --dry-run >theirs 2>/dev/null
grep -q 'to delete: *0 blobs' theirs || fail "restic would still delete: $(cat theirs)"
code 0 forget --tag nightly --unsafe-allow-remove-all --prune -q
[ "$(restic snapshots --json | jq '[.[] | select(.hostname == "beta")] | length')" = 0 ] || fail "remove all of a tag"
whole "after forget --prune"

# ---- tags
id=$(restic snapshots --json | jq -r '.[-1].id')
before=$(restic cat snapshot "$id" | jq -S 'del(.tags, .original)')
code 0 tag --add one,two "$id"
new=$(restic snapshots --json --tag one,two | jq -r '.[0].id')
[ "$(restic cat snapshot "$new" | jq -S 'del(.tags, .original)')" = "$before" ] || fail "tag changed more than tags"
[ "$(restic cat snapshot "$new" | jq -r .original)" = "$id" ] || fail "tag: no original"
[ ! -e "repo/snapshots/$id" ] || fail "tag left the old snapshot"
code 0 tag --json --remove one --tag two
[ "$(jq -rs '.[-1].changed_snapshots' out)" = 1 ] || fail "tag --remove: $(cat out)"
[ "$(restic snapshots --json --tag two | jq -c '.[0].tags')" = '["two"]' ] || fail "tag --remove left it"
code 0 tag --set x --set y,z --tag two
[ "$(restic snapshots --json --tag x | jq -c '.[0].tags')" = '["x","y","z"]' ] || fail "tag --set"
[ "$(restic snapshots --json --tag x | jq -r '.[0].original')" = "$id" ] || fail "tag: the original is not the first"
code 0 tag --set '' --tag x
[ "$(restic snapshots --json | jq -c '[.[].tags // [] | .[]]')" = '[]' ] || fail "tag --set ''"
code 2 tag
code 2 tag --set a --add b
whole "after tag"

# ---- keys
code 0 key add --new-password-file password2 --user somebody --host somewhere
RESTIC_PASSWORD_FILE=password2 restic snapshots >/dev/null || fail "restic does not open with the added key"
fields='jq -S -c "map({current, userName, hostName}) | sort"'
"$gleaner" repo key list --json | eval "$fields" >ours
restic key list --json | eval "$fields" >theirs
cmp -s ours theirs || fail "key list: $(diff theirs ours)"
current=$("$gleaner" repo key list --json | jq -r '.[] | select(.current) | .id')
second=$("$gleaner" repo key list --json | jq -r '.[] | select(.current | not) | .id')
code 1 key remove "${current:0:8}"
code 1 key remove ffffffff
code 0 key remove "${second:0:8}"
RESTIC_PASSWORD_FILE=password2 code 12 snapshots
code 0 key passwd --new-password-file password2
code 12 snapshots
RESTIC_PASSWORD_FILE=password2 restic snapshots >/dev/null || fail "restic does not open after key passwd"
[ "$(find repo/keys -type f | wc -l)" = 1 ] || fail "key passwd left the old key"
RESTIC_PASSWORD_FILE=password2 code 0 key passwd --new-password-file password
cheapen
: >empty
code 1 key add --new-password-file empty
code 2 key add now
code 2 key

# ---- locks: of a living writer, and one that was left
mkfifo pipe
restic backup -q --stdin <pipe &
exec 9>pipe
for _ in $(seq 1200); do [ -n "$(ls -A repo/locks)" ] && break; sleep 0.05; done
code 0 snapshots # shared beside shared
code 11 forget --keep-last 1
code 11 tag --add x
code 11 key remove "${current:0:8}"
grep -q unlock err || fail "a lock: no next step: $(cat err)"
code 0 unlock # its process lives: it stays
[ -n "$(ls -A repo/locks)" ] || fail "unlock removed the lock of a living process"
code 0 list locks
[ "$(cat out)" = "$(ls repo/locks)" ] || fail "list locks: $(cat out)"
code 0 cat lock "$(ls repo/locks)"
[ "$(jq -r .exclusive out)" = false ] || [ "$(jq -r .pid out)" -gt 1 ] || fail "cat lock: $(cat out)"
(code 0 forget --keep-last 1 --retry-lock 5m --dry-run --no-lock)
echo data >&9
exec 9>&-
wait
restic backup -q --stdin <pipe & # this one is killed
pid=$!
exec 9>pipe
for _ in $(seq 1200); do [ -n "$(ls -A repo/locks)" ] && break; sleep 0.05; done
kill -KILL $pid; wait $pid 2>/dev/null || true
exec 9>&-
[ -n "$(ls -A repo/locks)" ] || fail "the killed process left no lock"
code 11 forget --keep-last 1
code 0 unlock
[ -z "$(ls -A repo/locks)" ] || fail "unlock left a stale lock"
cp "$(find repo.whole/index -type f | head -1)" "repo/locks/$(printf '00%.0s' $(seq 32))" # nothing readable
code 0 unlock --remove-all
[ -z "$(ls -A repo/locks)" ] || fail "unlock --remove-all left a lock"
# ---- a signal ends a command, and takes its lock away
head -c 3000000 /dev/urandom >tree/large
code 0 backup "$work/tree"
for signal in HUP TERM; do
    rm -f blocked; mkfifo blocked
    "$gleaner" repo dump latest "$work/tree/large" >blocked & # nobody reads
    pid=$!
    exec 8<blocked
    for _ in $(seq 1200); do [ -n "$(ls -A repo/locks)" ] && break; sleep 0.05; done
    [ -n "$(ls -A repo/locks)" ] || fail "dump took no lock"
    status=0
    kill -$signal $pid; wait $pid || status=$?
    exec 8<&-
    [ $status -gt 128 ] || fail "SIG$signal: exit code $status"
    [ -z "$(ls -A repo/locks)" ] || fail "SIG$signal left a lock"
done
whole "at the end"
echo "cli_repo_write: $policies policies keep what restic keeps; forget, prune, tag, key and unlock are judged by restic"
