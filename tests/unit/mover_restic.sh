#!/usr/bin/env bash
# The mover against stock restic, on the nastiest folder: mover_restic.sh MOVER_TOOL [RESTIC]
# Without RESTIC: the system's, and the newer one where bench/peers has built it.
#  - our trees are byte-equal to restic's, but for what the comparison names
#  - restic checks, lists, dumps and restores what we wrote; we make a volume equal to what it wrote
#  - restic's tag and rewrite (from 0.15 on) lose nothing of it
# Run as root: devices, owners and capabilities are part of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$1 restic=${2:-}
if [ -z "$restic" ]; then
    restic=restic
    if newer=$("$here/../../bench/peers" --where restic 2>/dev/null); then
        "$0" "$tool" "$newer"
    else
        echo "note: only the system's restic: bench/peers has built none"
    fi
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_PASSWORD=test RESTIC_REPOSITORY=$work/repo RESTIC_CACHE_DIR=$work/cache TZ=UTC
folder=("python3" "$here/nasty_folder.py")
fail() { echo "mover_restic: $*" >&2; exit 1; }
version=$("$restic" version | awk '{print $2}')
least() { [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }

"${folder[@]}" make "$work/nasty"
"${folder[@]}" list "$work/nasty" >"$work/is"
"$restic" init -q
(cd "$work/nasty" && "$restic" backup -q .) || fail "restic cannot back it up"
snapshot() { "$restic" snapshots --json | jq -r "max_by(.time).$1"; }
theirs=$(snapshot tree)
"$tool" backup "$work/repo" test "$work/nasty" >"$work/said" || fail "we cannot back it up"
! grep problem "$work/said" || fail "something is not archived"
ours=$(sed -n 's/^tree //p' "$work/said")

raw=yes
least 0.16 || raw=no # no linktarget_raw
"${folder[@]}" compare "$restic" "$theirs" "$ours" "$raw" || fail "trees differ"

"$restic" check --read-data >"$work/check" 2>&1 || fail "restic check: $(cat "$work/check")"
"$restic" ls latest >"$work/ls" 2>&1 || fail "restic ls: $(cat "$work/ls")"
"$restic" dump latest / 2>"$work/dump" | tar -tf - >/dev/null || fail "restic dump: $(cat "$work/dump")"
[ ! -s "$work/dump" ] || fail "restic dump complains: $(cat "$work/dump")"

# What restic restores of ours and of its own is the same, complaints included.
restored() { # SNAPSHOT FOLDER: listing
    mkdir "$2"
    "$restic" restore -q "$1" --target "$2" >"$2.said" 2>&1 || fail "restic restore: $(cat "$2.said")"
    ! grep -v '^Summary: Restored' "$2.said" || fail "restic restore complains"
    "${folder[@]}" list "$2"
}
mapfile -t snapshots < <("$restic" snapshots --json | jq -r 'sort_by(.time)[].id')
restored "${snapshots[0]}" "$work/out1" >"$work/out1.list"
restored "${snapshots[1]}" "$work/out2" >"$work/out2.list"
diff -a "$work/out1.list" "$work/out2.list" || fail "restic restores ours otherwise than its own"

# A volume becomes equal to both: restic has no sockets, and does not tell which pipes are linked.
mkdir "$work/back" && "$tool" restore "$work/repo" test "$ours" "$work/back" >"$work/said"
[ ! -s "$work/said" ] || fail "restoring ours: $(cat "$work/said")"
"${folder[@]}" list "$work/back" | diff -a "$work/is" - || fail "our own is not restored equal"
"$tool" restore "$work/repo" test "$theirs" "$work/back" >"$work/said"
[ ! -s "$work/said" ] || fail "restoring restic's: $(cat "$work/said")"
"${folder[@]}" list "$work/back" plain $raw | diff -a <("${folder[@]}" list "$work/nasty" plain $raw) - ||
    fail "restic's is not restored equal"

"$restic" tag -q --add note:1 "${snapshots[1]}" || fail "restic tag"
[ "$("$restic" snapshots --tag backup:test,note:1 --json | jq -r '.[0].tree')" = "$ours" ] || fail "tag lost the tree"
[ "$("$restic" snapshots --tag note:1 --json | jq -r '.[0].hostname')" = cluster ] || fail "tag lost the host"
if least 0.15; then
    "$restic" rewrite -q --forget --exclude /removed --tag note:1 >"$work/said" 2>&1 || fail "restic rewrite: $(cat "$work/said")"
    rewritten=$("$restic" snapshots --tag backup:test,note:1 --json | jq -r '.[0].tree')
    [ "$rewritten" != "$ours" ] || fail "rewrite did nothing"
    "$tool" restore "$work/repo" test "$rewritten" "$work/back" >"$work/said"
    [ ! -s "$work/said" ] || fail "restoring the rewritten: $(cat "$work/said")"
    rm "$work/nasty/removed"
    "${folder[@]}" list "$work/back" | diff -a <("${folder[@]}" list "$work/nasty") - || fail "rewrite lost something"
else
    echo "note: restic $version has no rewrite"
fi
"$restic" check -q >"$work/check" 2>&1 || fail "restic check at the end: $(cat "$work/check")"
echo "mover_restic: well with restic $version"
