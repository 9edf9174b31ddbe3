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
chmod 0750 tree/sub; chmod 0711 tree/sub/deep
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
for folder in tree tree/other; do # in a file, and after an entry
    code 1 dump -t broken.tar "$snapshot" "$work/$folder"
    ! tar -tf broken.tar >"$work/out" 2>&1 || fail "dump $folder: a failed tar looks whole: $(cat "$work/out")"
    code 1 dump -a zip -t broken.zip "$snapshot" "$work/$folder"
    ! python3 -m zipfile -t broken.zip >"$work/out" 2>&1 || fail "dump $folder: a failed zip looks whole"
done
echo "cli_repo_restore: well"
