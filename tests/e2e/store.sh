#!/usr/bin/env bash
# The store against stock restic, both ways: what we write restic checks, lists, dumps and restores with
# both passwords; what restic writes we read; trees of a nasty folder are byte-equal.
#
#     tests/e2e/store.sh [STORE_TOOL]        (default: the dev build's)
#
# Prints PASS or FAIL lines; exit 1 if one failed. Needs restic; run as root for owners and devices.
set -u
cd "$(dirname "$0")/../.." || exit 1
tool=$(realpath "${1:-build/dev/tests/unit/store_tool}")
command -v restic >/dev/null || { echo "FAIL store: restic is not installed"; exit 1; }
[ -x "$tool" ] || { echo "FAIL store: $tool is not built"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/gleaner-store.XXXXXX")
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
export TZ=UTC RESTIC_CACHE_DIR=$work/cache LC_ALL=C.UTF-8
failed=0

pass() { echo "PASS store: $1"; }
fail() { echo "FAIL store: $1"; sed 's/^/    /' "$work/log" | tail -n 15; failed=1; }
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then pass "$name"; else fail "$name"; fi
}
with() { RESTIC_PASSWORD=$1 restic -q -r "$2" "${@:3}"; }

# Names, modes, times and links that encoders get wrong; all characters older than Unicode 13, which is
# what the oldest restic of the comparison knows.
make_nasty() {
    mkdir -p "$1" && cd "$1" || return 1
    printf 'a' >plain
    printf 'b' >'q"uote'
    printf 'c' >'back\slash'
    printf 'd' >'less<than>&amp'
    printf 'e' >$'tab\there'
    printf 'f' >$'new\nline'
    printf 'g' >$'bell\a\b\v\f\r\e\x7f'
    printf 'h' >$'latin\xe4'
    printf 'i' >$'broken\xf0\x9f\x98'
    printf 'j' >$'surrogate\xed\xa0\x80'
    printf 'k' >$'zero\xe2\x80\x8bwidth'
    printf 'l' >$'nbsp\xc2\xa0soft\xc2\xad'
    printf 'm' >$'emoji\xf0\x9f\x98\x80'
    printf 'n' >$'line\xe2\x80\xa8sep\xe2\x80\xa9'
    printf 'o' >$'bom\xef\xbb\xbf'
    printf 'p' >$'replacement\xef\xbf\xbd'
    printf 'q' >$'private\xee\x80\x80'
    printf 'r' >$'ideographic\xe3\x80\x80space'
    printf 's' >$'plane\xf3\xa0\x80\x81tag'
    printf 't' >' leading and trailing '
    printf 'u' >'%percent,comma;semi'
    printf 'v' >'grüße'
    printf 'w' >"$(printf 'x%.0s' $(seq 255))"
    : >empty
    mkdir emptydir deep sticky
    mkdir -p deep/a/b/c
    head -c 3000000 /dev/zero >zeros
    head -c 5000000 /dev/urandom >random
    yes 'some text that compresses' | head -c 2000000 >text
    ln -s plain link
    ln -s 'nowhere <&> "x" é' 'dangling'
    ln random hard1 && ln random hard2
    mkfifo pipe
    chmod 4755 plain && chmod 2750 deep && chmod 3777 sticky && chmod 0000 empty
    touch -d '1969-12-31T23:59:58.5Z' text
    touch -d '2001-02-03T04:05:06.123456789Z' zeros
    touch -d '2038-01-20T00:00:00.100Z' random
    if [ "$(id -u)" = 0 ]; then
        chown 12345:54321 text
        mknod chardev c 1 3 2>/dev/null
        mknod blockdev b 7 0 2>/dev/null
    fi
    python3 -c 'import os
os.setxattr("text", "user.zz", b"value <x>")
os.setxattr("text", "user.empty", b"")
os.setxattr("deep", "user.bytes", bytes([255, 0, 254]))' || echo "(no extended attributes here)"
    touch -h -d '2010-01-01T00:00:00Z' link
    cd - >/dev/null || return 1
}

trees_equal() { # the tree that restic and we make of one folder under one polynomial
    local ours theirs
    (cd "$work/nasty" && with stock "$work/theirs" backup --tag t .) || return 1
    theirs=$("$tool" snapshots "$work/theirs" stock | tail -n 1 | cut -d' ' -f2)
    ours=$("$tool" backup "$work/theirs" stock "$work/nasty" | sed -n 's/^tree //p')
    echo "theirs $theirs ours $ours"
    [ -n "$ours" ] && [ "$ours" = "$theirs" ]
}
# Everything that a restore must bring back; a link's own times are left out where restic 0.14 does.
listing() {
    (cd "$1" && find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %l %n\n' | LC_ALL=C sort &&
        find . -type f -exec sha256sum {} + | LC_ALL=C sort &&
        python3 -c 'import os
for path, dirs, files in sorted(os.walk(b".")):
    for name in sorted(dirs + files):
        f = os.path.join(path, name)
        print(f, sorted((x, os.getxattr(f, x, follow_symlinks=False))
                        for x in os.listxattr(f, follow_symlinks=False)))')
}
same_folder() { diff -a <(listing "$1") <(listing "$2"); }
restores() { # PASSWORD
    rm -rf "$work/out"
    with "$1" "$work/ours" restore latest --path "$work/nasty" --target "$work/out" &&
        same_folder "$work/nasty" "$work/out"
}
wrong_password() { ! "$tool" snapshots "$work/ours" wrong; }
damaged() { # a pack that is missing, then one that is short
    local repo=$work/damaged pack
    cp -r "$work/ours" "$repo" && pack=$(find "$repo/data" -type f -size +1000k | head -n 1)
    mv "$pack" "$work/pack" && ! "$tool" verify "$repo" first latest || return 1
    chmod u+w "$work/pack" && cp "$work/pack" "$pack" && truncate -s -1 "$pack" &&
        ! "$tool" verify "$repo" first latest
}
one_bit() {
    local repo=$work/flipped pack
    cp -r "$work/ours" "$repo" && pack=$(find "$repo/data" -type f -size +1000k | head -n 1)
    chmod u+w "$pack" && printf '\x00' | dd of="$pack" bs=1 seek=5000 conv=notrunc status=none &&
        cmp -s "$pack" "$work/ours/data/${pack#"$repo"/data/}" && return 1
    ! "$tool" verify "$repo" first latest
}
locks_stop_prune() {
    "$tool" lock "$work/ours" first dead/ns/pod/uid && ! with first "$work/ours" prune &&
        "$tool" sweep "$work/ours" first other | grep -qx '0 removed' &&
        "$tool" sweep "$work/ours" first dead | grep -qx '1 removed' && with first "$work/ours" prune
}
tagged() { # what restic rewrites, we still read
    with first "$work/ours" tag --add note:1 --tag backup:test && "$tool" verify "$work/ours" first latest &&
        with first "$work/ours" snapshots --tag note:1 | grep -q note:1
}
dumps_equal() { # REPO PASSWORD
    cmp <("$tool" dump "$1" "$2" latest /random) "$work/nasty/random" &&
        cmp <("$tool" dump "$1" "$2" latest /text) "$work/nasty/text"
}
restic_dump() {
    [ "$(with second "$work/ours" dump latest --path /plan \
        /resources/secrets/namespaces/app/s7.json)" = '{"kind":"Secret","n":7}' ]
}
stays_small() { # an unchanged folder adds a snapshot and nothing else
    local before after
    before=$(find "$work/ours/data" -type f | wc -l)
    "$tool" backup "$work/ours" first "$work/nasty" && after=$(find "$work/ours/data" -type f | wc -l)
    echo "$before packs before, $after after"
    [ "$before" = "$after" ]
}

make_nasty "$work/nasty" || exit 1
check 'init writes two keys' "$tool" init "$work/ours" first second
check 'init refuses a repository that is there' bash -c "! '$tool' init '$work/ours' first second"
check 'backup of a nasty folder' "$tool" backup "$work/ours" first "$work/nasty"
check 'backup of synthetic files' "$tool" synthetic "$work/ours" second
for password in first second; do
    check "restic check --read-data ($password password)" with $password "$work/ours" check --read-data
    check "restic ls ($password password)" with $password "$work/ours" ls latest
    check "restic restores the folder ($password password)" restores $password
done
check 'restic dumps a synthetic file' restic_dump
check 'an unchanged folder stores nothing new' stays_small
check 'a wrong password is refused' wrong_password
check 'restic prune obeys our lock, the dead are swept' locks_stop_prune
check 'restic tags our snapshots, and we read them' tagged
check 'a missing and a short pack are found' damaged
check 'a changed byte is found' one_bit
check 'restic init' with stock "$work/theirs" init --repository-version 2
check 'trees are byte-equal to restic'"'"'s' trees_equal
check 'every tree of restic re-encodes to itself' "$tool" reencode "$work/theirs" stock latest
check 'restic'"'"'s snapshot verifies' "$tool" verify "$work/theirs" stock latest
check 'we read what restic wrote' dumps_equal "$work/theirs" stock
check 'restic checks what both wrote' with stock "$work/theirs" check --read-data
check 'restic init, version 1' with stock "$work/old" init --repository-version 1
check 'restic backup, version 1' with stock "$work/old" backup "$work/nasty"
check 'a version 1 repository verifies' "$tool" verify "$work/old" stock latest
check 'we back up into a version 1 repository' "$tool" backup "$work/old" stock "$work/nasty"
check 'restic checks the version 1 repository' with stock "$work/old" check --read-data
exit $failed
