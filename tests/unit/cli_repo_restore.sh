#!/usr/bin/env bash
# `gleaner repo dump` and `restore` where not all is well: damaged packs, names and types that an
# archive cannot hold, what stands in the way, a user who is not root: cli_repo_restore.sh GLEANER
# STORE_TOOL
set -euo pipefail
gleaner=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password
echo 'a password of more than 128 bits' >"$work/password"
fail() { echo "cli_repo_restore: $*" >&2; exit 1; }
code() { # CODE ARGUMENTS...: what it says is in $work/out and $work/err
    local want=$1 is=0
    shift
    "$gleaner" repo "$@" >"$work/out" 2>"$work/err" || is=$?
    [ $is -eq "$want" ] || fail "$*: exit code $is, not $want: $(cat "$work/out" "$work/err")"
}
said() { grep -aqF -- "$1" "$work/err" || fail "'$1' is not said: $(cat "$work/err")"; }

cd "$work"
mkdir -p tree/sub/deep tree/other/inner
echo first >tree/other/a; echo inner >tree/other/inner/file
head -c 9000000 /dev/urandom >tree/sub/big
echo after >tree/sub/small; echo last >tree/z; echo deep >tree/sub/deep/file
mkfifo tree/pipe; printf x >"tree/caf"$'\xc3\xa9'; printf y >"tree/raw"$'\xe4'
chown 1234:1235 tree/sub/deep tree/sub/small
chmod 0444 tree/sub/small; chmod 0750 tree/sub; chmod 0711 tree/sub/deep
touch -d '2020-01-02 03:04:05' tree/sub/deep tree/sub
code 0 init
"$tool" cheapen "$work/repo" "$(cat password)"
code 0 backup "$work/tree"
snapshot=$("$gleaner" repo snapshots --json | jq -r '.[0].id')
cp -a repo whole

# ---- dump
code 0 dump -a zip -t a.zip "$snapshot" "$work/tree"
said "/pipe: left out: a fifo"
python3 - a.zip <<'PY' || fail "dump: names or flags of the zip"
import sys, zipfile
flags = {i.filename.rsplit("/", 1)[-1]: i.flag_bits & 0x800 for i in zipfile.ZipFile(sys.argv[1]).infolist() if not i.is_dir()}
assert flags["caf\u00e9"] == 0x800, flags
assert flags["raw" + b"\xe4".decode("cp437")] == 0, flags
assert "z" in flags and "pipe" not in flags, flags
PY

# Damage to single blobs.
node() { # PATH: as it is in the tree of its directory
    local tree name
    tree=$("$gleaner" repo cat snapshot "$snapshot" | jq -r .tree)
    local rest=${1#/}
    while [[ $rest == */* ]]; do
        name=${rest%%/*} rest=${rest#*/}
        tree=$("$gleaner" repo cat blob "$tree" | jq -r --arg n "$name" '.nodes[] | select(.name == $n) | .subtree')
    done
    "$gleaner" repo cat blob "$tree" | jq --arg n "$rest" '.nodes[] | select(.name == $n)'
}
hurt() { # BLOB...
    local blob pack offset
    for blob in "$@"; do
        read -r pack offset < <(for index in repo/index/*; do "$gleaner" repo cat index "$(basename "$index")"; done |
            jq -r --arg b "$blob" '.packs[] | .id as $p | .blobs[] | select(.id == $b) | "\($p) \(.offset)"')
        pack=repo/data/${pack:0:2}/$pack
        chmod u+w "$pack"
        printf XXXXXXXX | dd of="$pack" bs=1 seek=$((offset + 20)) conv=notrunc status=none
    done
}
chunk=$(node "$work/tree/sub/big" | jq -r '.content[1]')
inner=$(node "$work/tree/other/inner" | jq -r .subtree)
hurt "$chunk" "$inner"
for folder in tree/sub tree/other; do # in a file, and after an entry
    code 1 dump -t broken.tar "$snapshot" "$work/$folder"
    ! tar -tf broken.tar >"$work/out" 2>&1 || fail "dump $folder: a failed tar looks whole: $(cat "$work/out")"
    code 1 dump -a zip -t broken.zip "$snapshot" "$work/$folder"
    ! python3 -m zipfile -t broken.zip >"$work/out" 2>&1 || fail "dump $folder: a failed zip looks whole"
done

# ---- restore of what is damaged: all the rest, and each loss is named
code 1 restore --json "$snapshot:$work/tree" --target lossy
items=$(jq -r 'select(.message_type == "error" and .during == "restore" and .error.message != "") | .item' "$work/err" | sort | tr '\n' ' ')
[ "$items" = "/other/inner /sub/big " ] || fail "restore: named as lost: $items, in $(cat "$work/err")"
[ "$(tail -1 "$work/err" | jq -r '.message_type, .code' | tr '\n' ' ')" = "exit_error 1 " ] || fail "restore: no exit_error: $(cat "$work/err")"
metadata() { (cd "$1" && stat -c '%n %a %u:%g %y' other/inner sub sub/big sub/deep sub/deep/file sub/small z); }
diff <(metadata tree) <(metadata lossy) || fail "restore: metadata beside damage"
cmp tree/sub/small lossy/sub/small && cmp tree/sub/deep/file lossy/sub/deep/file && cmp tree/z lossy/z || fail "restore: files beside damage"
[ "$(stat -c %s lossy/sub/big)" = 9000000 ] || fail "restore: the damaged file is cut"
lost=$({ cmp -l tree/sub/big lossy/sub/big || true; } | wc -l)
first=$({ cmp tree/sub/big lossy/sub/big || true; } | grep -oE 'byte [0-9]+' | cut -d' ' -f2)
[ "$first" -gt 500000 ] && cmp <(tail -c 500000 tree/sub/big) <(tail -c 500000 lossy/sub/big) && [ "$lost" -gt 400000 ] ||
    fail "restore: not one chunk is lost, but $lost bytes from $first"
code 1 restore "$snapshot:$work/tree" --target lossy2
said "lossy2/sub/big is not whole"
said "lossy2/other/inner cannot be restored"
said "2 problems"

rm -rf repo && mv whole repo

# ---- what stands in the way: a directory with something in it stays, unless --delete is given
mkdir -p way/z/full way/sub/small; echo file >way/other
code 1 restore "$snapshot:$work/tree" --target way
said "way/z cannot be restored"
said "1 problems"
[ -d way/z/full ] || fail "restore: a directory that is not empty was removed"
cmp tree/sub/small way/sub/small && cmp tree/sub/big way/sub/big && cmp tree/other/inner/file way/other/inner/file ||
    fail "restore: the rest is not there"
code 0 restore --delete "$snapshot:$work/tree" --target way
cmp tree/z way/z || fail "restore --delete: the directory is still there"

# ---- what is counted, as by restic
summary() { "$gleaner" repo restore --json "$@" "$snapshot:$work/tree/sub" --target counted | jq -c 'del(.message_type)'; }
[ "$(summary)" = '{"total_files":4,"files_restored":4,"files_skipped":0,"total_bytes":9000011,"bytes_restored":9000011,"bytes_skipped":0}' ] ||
    fail "restore --json: another summary"
echo x >counted/small; mkdir counted/more
is=$(summary --delete)
[ "$is" = '{"total_files":2,"files_restored":2,"files_skipped":2,"files_deleted":1,"total_bytes":6,"bytes_restored":6,"bytes_skipped":9000005}' ] ||
    fail "restore --json: $is"

# ---- directories above what is included have the snapshot's metadata, also those that were there
mkdir -p above/sub; chmod 0700 above/sub
code 0 restore --include deep/file "$snapshot:$work/tree" --target above
[ "$(cd above && find . -mindepth 1 | sort | tr '\n' ' ')" = "./sub ./sub/deep ./sub/deep/file " ] || fail "restore --include: $(find above)"
[ "$(cd above && stat -c '%a %u:%g %y' sub sub/deep)" = "$(cd tree && stat -c '%a %u:%g %y' sub sub/deep)" ] ||
    fail "restore --include: directories: $(cd above && stat -c '%n %a %u:%g %y' sub sub/deep)"

# ---- patterns that are empty or none
for option in --include --iinclude; do
    code 0 restore "$option" '' "$snapshot:$work/tree" --target nothing
    [ -z "$(ls -A nothing)" ] || fail "$option '' restored something"
done
code 0 restore --exclude '' "$snapshot:$work/tree" --target all
cmp tree/sub/deep/file all/sub/deep/file || fail "--exclude '' left something out"
for option in --include --iinclude --exclude --iexclude; do
    for pattern in '[bad' 'a/[' '[]' '[]a]' '[a-]' '[-a]' 'x\' '[a/b]'; do
        code 1 restore "$option" "$pattern" "$snapshot:$work/tree" --target none
        said "$option: invalid pattern '$pattern'"
    done
    for pattern in '[a-z]x' '[^a]x' '\[x' '[\]]x' 'a]'; do
        code 0 restore "$option" "$pattern" "$snapshot:$work/tree" --target some
    done
done
[ ! -e none ] || fail "restore began with a pattern that is none"

# ---- a user who is not root cannot give files away, and is told once
chmod 0755 "$work"; chmod 0644 password; chmod -R a+rX repo; mkdir mine; chown 65534 mine
for content in none equal other; do
    [ $content != other ] || echo other >mine/sub/small
    is=0
    setpriv --reuid=65534 --clear-groups "$gleaner" repo restore --no-lock "$snapshot:$work/tree" --target mine >"$work/out" 2>"$work/err" || is=$?
    [ $is -eq 0 ] || fail "restore as a user over $content: exit code $is: $(cat "$work/err")"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "restore as a user over $content: $(cat "$work/err")"
    said "only root"
done
cmp tree/sub/small mine/sub/small || fail "restore as a user left something else"
[ "$(stat -c '%u %a' mine/sub/small mine/sub/deep | tr '\n' ' ')" = "65534 $(stat -c %a tree/sub/small) 65534 711 " ] || fail "restore as a user: $(ls -lR mine)"

# ---- how far it has come, on a terminal
script -qec "$gleaner repo restore $snapshot:$work/tree --target shown" /dev/null </dev/null >"$work/out"
grep -aqE '(bytes|files and directories): [0-9]+' "$work/out" || fail "restore shows no progress: $(cat -v "$work/out")"
script -qec "$gleaner repo restore -q $snapshot:$work/tree --target shown2" /dev/null </dev/null >"$work/out"
! grep -aqE '(bytes|files and directories): [0-9]+' "$work/out" || fail "restore -q shows progress"
script -qec "$gleaner repo backup $work/tree" /dev/null </dev/null >"$work/out"
grep -aqE 'files: [0-9]+' "$work/out" || fail "backup shows no progress: $(cat -v "$work/out")"
echo "cli_repo_restore: well"
