#!/usr/bin/env bash
# `gleaner repo check` beside `restic check`, over repositories that were damaged in each way: the
# same exit code, and the damage named: cli_repo_check.sh GLEANER STORE_TOOL
set -euo pipefail
gleaner=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_PASSWORD_FILE=$work/password RESTIC_CACHE_DIR=$work/cache RESTIC_REPOSITORY=$work/repo
echo 'a password of more than 128 bits' >"$work/password"
fail() { echo "cli_repo_check: $*" >&2; exit 1; }

# Several packs, two snapshots, of which the second alone holds `late`.
mkdir -p "$work/tree/a/b"
for i in 1 2 3 4 5 6; do head -c 4000000 /dev/urandom >"$work/tree/a/file$i"; done
echo text >"$work/tree/a/b/text"
restic init -q
"$tool" cheapen "$work/repo" "$(cat "$work/password")"
restic backup -q "$work/tree"
head -c 3000000 /dev/urandom >"$work/tree/late"
restic backup -q "$work/tree"
chmod -R u+w "$work/repo"
cp -a "$work/repo" "$work/whole"
first=$(restic snapshots --json | jq -r '.[0].id') second=$(restic snapshots --json | jq -r '.[1].id')
rm -rf "$work/repo"

cases=0
tells() { # WHAT NAME: of the summary that compare saw last, as restic 0.18 counts it
    local is
    is=$(jq -c '[.num_errors, .broken_packs, .suggest_repair_index]' <<<"$summary" | sed 's/,/, /g')
    [ "$is" = "$1" ] || fail "$2: the summary says $is, not $1"
    [ "$(tail -1 "$work/json" | jq -c '[.message_type, .code]')" = '["exit_error",1]' ] || fail "$2: no exit_error"
}
# compare NAME CODE PATTERN HURT [check options]: HURT is how many snapshots are said to be hurt;
# MORE: we say more than restic (its code is not compared).
compare() {
    local name=$1 code=$2 pattern=$3 hurt=$4 ours=0 theirs=0 said
    shift 4
    RESTIC_CACHE_DIR=$work/none restic check --no-cache "$@" >"$work/theirs" 2>&1 || theirs=$?
    said=$("$gleaner" repo check "$@" 2>&1) || ours=$?
    [ $ours -eq "$code" ] || fail "$name: exit code $ours, not $code: $said"
    [ "${MORE-}" ] || [ $theirs -eq $ours ] || fail "$name: restic's exit code is $theirs, ours $ours: $(cat "$work/theirs") -- $said"
    [[ $said =~ $pattern ]] || fail "$name: no '$pattern' in: $said"
    summary=$("$gleaner" repo check --json "$@" 2>"$work/json") || true
    [ "$(jq '.hurt_snapshots | length' <<<"$summary")" = "$hurt" ] || fail "$name: not $hurt snapshots hurt: $summary $said"
    [ "$code" = 0 ] || [ "$(jq -s '[.[] | select(.message_type == "error")] | length' "$work/json")" = "$(jq .num_errors <<<"$summary")" ] ||
        fail "$name: the errors are not counted right: $summary"
    cases=$((cases + 1))
}
fresh() { chmod -R u+w "$work/repo" 2>/dev/null || true; rm -rf "$work/repo"; cp -a "$work/whole" "$work/repo"; }
flip() { # FILE OFFSET (negative: from the end)
    python3 - "$1" "$2" <<'PY'
import sys
path, at = sys.argv[1], int(sys.argv[2])
data = bytearray(open(path, "rb").read())
data[at] ^= 0x10
open(path, "wb").write(data)
PY
}
# The packs that hold data and are large, largest first; the packs of trees.
data_packs() { find "$work/repo/data" -type f -size +1M -printf '%s %p\n' | sort -rn | cut -d' ' -f2; }
tree_packs() { find "$work/repo/data" -type f -size -100k; }
late_pack() { # the data pack that the first snapshot lacks
    local old
    old=$(restic cat index "$(index_of "$first")" 2>/dev/null | jq -r '.packs[].id')
    data_packs | while read -r p; do grep -q "$(basename "$p")" <<<"$old" || echo "$p"; done | head -1
}
index_of() { # the index file that was written first
    find "$work/repo/index" -type f -printf '%T@ %f\n' | sort -n | head -1 | cut -d' ' -f2
}

fresh
compare whole 0 "no errors were found" 0
compare "whole, data" 0 "no errors were found" 0 --read-data
compare "whole, part" 0 "no errors were found" 0 --read-data-subset=1/2
compare "whole, percent" 0 "no errors were found" 0 --read-data-subset=50%
compare "whole, size" 0 "no errors were found" 0 --read-data-subset=5M
late=$(late_pack)
[ -n "$late" ] || fail "there is no pack of the second snapshot alone"

fresh; rm "$late"
compare "missing pack" 1 "pack $(basename "$late") is missing" 1
tells '[1, null, false]' "missing pack"
fresh; rm $(data_packs | grep -v "$late" | head -1)
compare "missing pack of both" 1 "is missing" 2
fresh; truncate -s -100 "$late"
compare "truncated pack" 1 "has [0-9]+ bytes, but its blobs make" 1
tells "[1, [\"$(basename "$late")\"], false]" "truncated pack"
fresh; echo more >>"$late"
compare "lengthened pack" 1 "has [0-9]+ bytes, but its blobs make" 1
fresh; flip "$late" 5000
compare "flipped byte in a blob" 1 "pack $(basename "$late"): blob [0-9a-f]+: " 1 --read-data
tells "[1, [\"$(basename "$late")\"], false]" "flipped byte"
compare "flipped byte, not read" 0 "no errors were found" 0
fresh; flip "$late" -10
compare "flipped byte in a header" 1 "pack header" 0 --read-data
fresh; flip "$late" -1
compare "flipped length of a header" 1 "header of [0-9]+ bytes is impossible" 0 --read-data
fresh; for p in $(tree_packs); do flip "$p" 20; flip "$p" 200; done
compare "flipped trees" 1 "tree [0-9a-f]+ cannot be read" 2
fresh; flip "$work/repo/index/$(index_of)" 60
compare "flipped byte in an index" 1 "index [0-9a-f]+: " 2
[ "$(jq .suggest_repair_index <<<"$summary")" = true ] || fail "a damaged index: $summary"
fresh; rm "$work/repo/index/$(index_of)"
compare "missing index" 1 "is in no index" 2
fresh; rm "$work/repo/index"/*
compare "no index at all" 1 "is in no index" 2
fresh; flip "$work/repo/snapshots/$second" 40
compare "flipped byte in a snapshot" 1 "snapshot ${second:0:8}: " 1
fresh; : >"$work/repo/snapshots/$first"
compare "empty snapshot" 1 "snapshot ${first:0:8}: " 1
fresh; flip "$(find "$work/repo/keys" -type f)" 20; chmod -R u+w "$work/repo"
cp "$work/whole/keys"/* "$work/repo/keys/"
cp "$(find "$work/whole/keys" -type f)" "$work/repo/keys/$(printf 'ab%.0s' $(seq 32))"
MORE=1 compare "a key of another name" 1 "key ababababab is damaged" 0
fresh; cp "$late" "$work/repo/data/00/$(printf '00%.0s' $(seq 32))"
compare "unindexed pack" 0 "hint: pack 0{64} is named by no index" 0

# Two index files that name the same packs: legal, not tidy.
fresh; restic rebuild-index -q >/dev/null 2>&1; cp -n "$work/whole/index"/* "$work/repo/index/"
compare "duplicate index" 0 "hint: pack [0-9a-f]+ is named by more than one index" 0
# A repository of the old format mixes data and trees in a pack.
rm -rf "$work/repo"; restic init -q --repository-version 1; restic backup -q "$work/tree/a/b" "$work/tree/a/file1"
compare "format version 1" 0 "no errors were found" 0 --read-data
# Locked by somebody else: neither checks.
fresh
(
    mkfifo "$work/pipe"
    restic backup -q --stdin <"$work/pipe" &
    exec 9>"$work/pipe"
    for _ in $(seq 600); do [ -n "$(ls -A "$work/repo/locks")" ] && break; sleep 0.1; done
    code=0; "$gleaner" repo check >"$work/said" 2>&1 || code=$?
    [ $code -eq 11 ] || fail "a locked repository: exit code $code: $(cat "$work/said")"
    "$gleaner" repo check -q --no-lock || fail "--no-lock"
    exec 9>&-
    wait
)
[ -z "$(ls -A "$work/repo/locks")" ] || fail "a lock is left"

bad() { local code=0; "$gleaner" repo check "$@" >/dev/null 2>&1 || code=$?; [ $code -eq 2 ] || fail "$*: exit code $code, not 2"; }
for part in 0/1 3/2 1/257 0% 101% x% 5X '' -5 1.5M; do bad --read-data-subset="$part"; done
bad --read-data --read-data-subset=1/2
echo "cli_repo_check: $cases damaged or whole repositories judged as restic does"
