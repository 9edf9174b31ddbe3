#!/usr/bin/env bash
# The verbs of `gleaner repo` that read, beside stock restic's on the same repository: the same JSON,
# the same bytes: cli_repo_read.sh GLEANER STORE_TOOL
set -euo pipefail
gleaner=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password RESTIC_CACHE_DIR=$work/cache
echo 'a password of more than 128 bits' >"$work/password"
fail() { echo "cli_repo_read: $*" >&2; exit 1; }
compared=0
same() { # NAME, then two files
    cmp -s "$2" "$3" || fail "$1: restic and we differ: $(diff "$2" "$3" | head -20)"
    compared=$((compared + 1))
}
# both NAME FILTER ARGUMENTS...: the two outputs, each through the filter, are equal
both() {
    local name=$1 filter=$2
    shift 2
    restic "$@" 2>"$work/err" | eval "$filter" >"$work/theirs" || fail "$name: restic: $(cat "$work/err")"
    "$gleaner" repo "$@" 2>"$work/err" | eval "$filter" >"$work/ours" || fail "$name: $(cat "$work/err")"
    [ -s "$work/ours" ] || fail "$name: nothing was printed"
    same "$name" "$work/theirs" "$work/ours"
}
code() { # CODE ARGUMENTS...
    local want=$1 is=0
    shift
    "$gleaner" repo "$@" >"$work/out" 2>&1 || is=$?
    [ $is -eq "$want" ] || fail "$*: exit code $is, not $want: $(cat "$work/out")"
}

cd "$work"
mkdir -p tree/a/b/deep tree/c "tree/white space"
echo text >tree/a/b/text; echo Text >tree/a/b/deep/TEXT; : >tree/empty
head -c 3000000 /dev/urandom >tree/large
head -c 200000 /dev/zero >tree/c/zero
ln tree/large tree/hard; ln -s ../large tree/c/link; mkfifo tree/pipe
touch -d '2020-01-02 03:04:05.123' tree/a/b/text
printf 'x' >"tree/caf"$'\xc3\xa9'; printf 'y' >"tree/raw"$'\xe4'
chmod 04711 tree/a/b/deep/TEXT; chmod 01777 tree/c
restic init -q
"$tool" cheapen "$work/repo" "$(cat password)"
restic backup -q --tag one,two --host alpha --time '2024-01-01 10:00:00' "$work/tree"
cp -a tree before
echo more >>tree/a/b/text; rm -r tree/c; mkdir tree/new; echo n >tree/new/file; chmod 0600 tree/empty
rm tree/pipe; echo file >tree/pipe
restic backup -q --tag three --host beta --time '2024-01-02 10:00:00.5' "$work/tree"
restic backup -q --host beta "$work/tree/a" "$work/tree/new"
first=$(restic snapshots --json | jq -r '.[0].id') second=$(restic snapshots --json | jq -r '.[1].id')
root=$work/tree

# ---- names that are meant for a terminal
mkdir named
touch "named/"$'clear\e[2J\x7f\xc2\x9bm\tend'
restic backup -q --host gamma "$work/named"
on_terminal() { script -qc "$1" /dev/null </dev/null | tr -d '\r'; }
"$gleaner" repo ls -q latest >"$work/piped" 2>&1 || fail "ls: $(cat "$work/piped")"
grep -qF $'clear\e[2J' "$work/piped" || fail "a pipe does not get the name as it is: $(cat -v "$work/piped")"
on_terminal "$gleaner repo ls -q latest" >"$work/shown"
grep -qF 'clear\x1b[2J\x7f\xc2\x9bm'$'\tend' "$work/shown" || fail "a terminal gets: $(cat -v "$work/shown")"
! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$work/shown" || fail "a terminal gets control characters: $(cat -v "$work/shown")"
# Characters across the ends of the stream's buffer, one without a beginning, and a whole one.
touch named/$'lone\x9bm' named/$'\xd1\x9bm' named/bad{$'\xff',$'\xc0',$'\xe0'}$'\x9bm'
restic backup -q --host gamma --tag "$(printf 'x\xc2\x9b%.0s' {1..12000})" "$work/named"
on_terminal "$gleaner repo snapshots --host gamma" >"$work/shown"
! LC_ALL=C grep -qP '\xc2\x9b' "$work/shown" || fail "a terminal gets a C1 control character"
[ "$(grep -oF 'x\xc2\x9b' "$work/shown" | wc -l)" -eq 12000 ] || fail "not all C1 control characters are shown"
on_terminal "$gleaner repo ls -q latest" >"$work/shown"
[ "$(LC_ALL=C grep -caE 'bad.\\x9bm' "$work/shown")" -eq 3 ] || fail "after what begins no character: $(cat -v "$work/shown")"
grep -qF 'lone\x9bm' "$work/shown" && grep -qF $'\xd1\x9bm' "$work/shown" || fail "of characters: $(cat -v "$work/shown")"
restic forget -q latest
on_terminal "$gleaner repo ls -q '"$'no\e[2Jsuch'"'" >"$work/shown"
grep -qF 'no\x1b[2Jsuch' "$work/shown" || fail "an error shows: $(cat -v "$work/shown")"
restic forget -q latest

# ---- snapshots
export TZ=UTC
both snapshots 'jq -S "sort_by(.time)"' snapshots --json
both "snapshots of a host" 'jq -S "sort_by(.time)"' snapshots --json --host alpha
both "snapshots with tags" 'jq -S "sort_by(.time)"' snapshots --json --tag one,two --tag three
both "snapshots of a path" 'jq -S "sort_by(.time)"' snapshots --json --path "$root"
both "the latest snapshots" 'jq -S "sort_by(.time)"' snapshots --json --latest 1
both "one snapshot" 'jq -S .' snapshots --json "${first:0:8}"

# ---- ls: fields that the older restic knows
nodes='jq -S -c "del(.message_type, .inode, .program_version, .summary)"'
both "ls --json" "$nodes" ls --json "$first"
both "ls --json of a directory" "$nodes" ls --json "$first" "$root/a"
both "ls --json of two" "$nodes" ls --json "$first" "$root/a/b" "$root/c"
both "ls --json, deeper" "$nodes" ls --json --recursive "$first" "$root/a"
both "ls latest of a host" "$nodes" ls --json --host alpha latest
both ls 'grep -av "^snapshot "' ls "$first"
both "ls -l" 'grep -av "^snapshot "' ls -l "$second"

# ---- stats
for mode in restore-size files-by-contents blobs-per-file raw-data; do
    both "stats $mode" 'jq -S -c "[.total_size, .total_file_count // 0, .total_blob_count // 0]"' stats --json --mode "$mode"
    both "stats $mode of one" 'jq -S -c "[.total_size, .total_file_count // 0, .total_blob_count // 0]"' stats --json --mode "$mode" "$second"
done

# ---- diff
both diff cat diff "$first" "$second"
both "diff, backwards" cat diff "$second" "$first"
both "diff --metadata" cat diff --metadata "$first" "$second"
both "diff --json" 'jq -S -c .' diff --json "${first:0:8}" "${second:0:8}"
[[ $(restic diff "$first" "$second") == *$'\nT '* ]] || fail "diff: no change of type was in it"

# ---- find
find_fields='jq -S "[.[] | .matches |= map(del(.inode))] | sort_by(.snapshot)"'
both find "$find_fields" find --json text
both "find, any case" "$find_fields" find --json -i text
both "find a directory" "$find_fields" find --json deep
both "find from the root" "$find_fields" find --json "$root/a/*/text"
both "find with **" "$find_fields" find --json "/**/deep/*"
both "find by time" "$find_fields" find --json --oldest '2020-01-02' --newest '2020-01-03' '*'
both "find in one snapshot" "$find_fields" find --json -s "$first" zero
both "find nothing" 'jq -c .' find --json nowhere
both "find, text" 'grep -v "^$" | sort' find text
blob=$(restic cat blob "$(restic cat snapshot "$first" 2>/dev/null | jq -r .tree)" 2>/dev/null | jq -r '.nodes[0].subtree')
both "find a tree" 'jq -S "map(del(.time, .parent_tree)) | sort_by(.snapshot)"' find --json --tree "$blob"

# ---- dump
for file in "$root/large" "$root/a/b/text" "$root/c/zero" "$root/empty" "$root/caf"$'\xc3\xa9' "$root/raw"$'\xe4'; do
    restic dump "$first" "$file" >theirs 2>/dev/null
    "$gleaner" repo dump "$first" "$file" >ours
    same "dump $file" theirs ours
done
mkdir tar zip target
"$gleaner" repo dump "$first" "$root" | tar -x -C tar --same-permissions
restic dump "$first" "$root" | tar -t | sort >theirs
"$gleaner" repo dump "$first" "$root" | tar -t | sort >ours
same "dump: names of a tar" theirs ours
diff -r --no-dereference "tar/${root#/}/a" before/a || fail "dump: the tar holds something else"
[ "$(stat -c '%a %y' "tar/${root#/}/a/b/text" "tar/${root#/}/a/b/deep/TEXT" "tar/${root#/}/c")" = "$(cd before && stat -c '%a %y' a/b/text a/b/deep/TEXT c)" ] ||
    fail "dump: modes or times differ"
[ "$(readlink "tar/${root#/}/c/link")" = ../large ] || fail "dump: the symlink"
"$gleaner" repo dump -a zip -t a.zip "$first" "$root/a"
python3 -m zipfile -e a.zip zip
diff -r "zip/${root#/}/a" before/a || fail "dump: the zip holds something else"
code 1 dump "$first" "$root/none"
code 1 dump "$first" "$root/pipe"
code 2 dump -a rar "$first" /

# ---- cat, list
both "cat config" 'jq -S .' cat config
both "cat snapshot" 'jq -S "del(.program_version, .summary)"' cat snapshot "$first"
for kind in index packs snapshots keys; do both "list $kind" sort list $kind; done
both "list blobs" 'sort -u' list blobs
both "cat index" 'jq -S -c "[.packs[].id] | sort"' cat index "$(restic list index | sort | tail -1)"
both "cat blob" cat cat blob "$blob"
pack=$(restic list packs | sort | tail -1)
"$gleaner" repo cat pack "$pack" | cmp - "repo/data/${pack:0:2}/$pack" || fail "cat pack"
"$gleaner" repo cat tree "$first" | cmp - <(restic cat blob "$(restic cat snapshot "$first" | jq -r .tree)") || fail "cat tree"
key=$("$gleaner" repo cat key "$(restic list keys)")
[ "$(jq -c 'has("salt"), has("data"), .N > 1000' <<<"$key" | tr '\n' ' ')" = "false false true " ] || fail "cat key: $key"
code 2 cat masterkey
code 1 cat blob "$(printf '00%.0s' $(seq 32))"

# ---- restore
restic restore -q "$first" --target theirs.dir >/dev/null
code 0 restore "$first" --target ours.dir
list() { (cd "$1" && find . -printf '%p %y %m %s %T@ %l %n\n' | sed 's/\(d [0-7]* \)[0-9]*/\1/' | grep -v '^\. ' | sort); }
# Directories above what was backed up have times of their own in both.
list theirs.dir >theirs; list ours.dir >ours
same "restore: modes, times, links" theirs ours
code 0 restore "$first" --target ours.dir # once more: nothing is written
grep -q ' 0 of them written' "$work/out" || fail "restore again wrote: $(cat "$work/out")"
find theirs.dir ours.dir -type p -delete # diff cannot compare them
diff -r --no-dereference theirs.dir ours.dir || fail "restore: other contents"
for part in "--include text" "--include $root/a" "--include $root/a/b/deep/TEXT" "--include large --include /**/zero" "--exclude a" "--exclude $root/c --exclude *arge" "--iinclude text" "--iexclude text"; do
    rm -rf theirs.dir ours.dir
    # shellcheck disable=SC2086
    (set -f; restic restore -q "$first" --target theirs.dir $part >/dev/null 2>&1)
    # shellcheck disable=SC2086
    (set -f; "$gleaner" repo restore -q "$first" --target ours.dir $part) || fail "restore $part"
    find theirs.dir ours.dir -type p -delete
    diff <(cd theirs.dir && find . -type f -o -type l | sort) <(cd ours.dir && find . -type f -o -type l | sort) || fail "restore $part: other files"
    diff -r --no-dereference theirs.dir ours.dir || fail "restore $part: other contents"
    compared=$((compared + 1))
done
rm -rf ours.dir; mkdir -p ours.dir/kept; echo kept >ours.dir/kept/file; echo old >ours.dir/empty
code 0 restore "$first:$root" --target ours.dir
[ "$(cat ours.dir/kept/file)" = kept ] || fail "restore removed what is not in the snapshot"
[ ! -s ours.dir/empty ] || fail "restore left an old file"
cmp ours.dir/a/b/text before/a/b/text || fail "restore of a folder"
code 0 restore --delete "$first:$root" --target ours.dir
[ ! -e ours.dir/kept ] || fail "restore --delete left something"
rm ours.dir/pipe before/pipe
diff -r --no-dereference ours.dir before || fail "restore --delete: not equal"
code 1 restore ffffffff --target ours.dir
code 1 restore "$first:/none" --target ours.dir
code 2 restore "$first"
code 2 restore "$first" --target x --include a --exclude b

# ---- where it is and what opens it
unset RESTIC_PASSWORD RESTIC_PASSWORD_FILE RESTIC_REPOSITORY
echo "$work/repo" >url
code 0 snapshots -q -r "$work/repo" -p "$work/password"
code 0 snapshots -r "local:$work/repo" --password-command "cat '$work/password'"
code 0 snapshots --repository-file url -p "$work/password"
RESTIC_REPOSITORY_FILE=url RESTIC_PASSWORD="$(cat password)" code 0 snapshots
RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_COMMAND="cat $work/password" code 0 snapshots
RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD="$(cat password)" RESTIC_KEY_HINT="$(ls repo/keys | cut -c1-8)" code 0 snapshots
RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_COMMAND=false code 1 snapshots
RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD=other code 12 snapshots
RESTIC_REPOSITORY=$work/none RESTIC_PASSWORD=other code 10 snapshots --json
[ "$(jq -r .message_type "$work/out")" = exit_error ] || fail "no JSON of a failure: $(cat "$work/out")"
RESTIC_REPOSITORY=$work/repo code 1 snapshots </dev/null
[ -z "$(ls -A repo/locks)" ] || fail "a lock is left"
echo "cli_repo_read: $compared outputs equal to restic's"
