#!/usr/bin/env bash
# gleaner's repositories read by its peers, theirs read by gleaner: tests/interop/interop.sh BUILD [PEER...]
#
# BUILD is a build folder (build/asan). The peers (debian, restic, rustic; all of them): Debian's restic always; restic 0.18.1 and rustic 0.11
# where bench/peers has built them, otherwise a line SKIP says so. Prints PASS, FAIL or SKIP lines, END
# as the last one. Run as root: devices, owners and capabilities are part of it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
built=$(realpath "${1:?tests/interop/interop.sh BUILD [PEER...]}")
shift
peers=" ${*:-debian restic rustic} "
tool=$built/tests/unit/store_tool mover=$built/tests/unit/mover_tool mixed=$built/tests/interop/mixed_packs
gleaner=$built/cli/gleaner
folder=("python3" "$top/tests/unit/nasty_folder.py")
work=$(mktemp -d "${TMPDIR:-/tmp}/gleaner-interop.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TZ=UTC LC_ALL=C.UTF-8 RESTIC_CACHE_DIR=$work/cache RESTIC_PASSWORD=test RESTIC_PROGRESS_FPS=0.01
failed=0 peer=

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "PASS $peer: $name"
    else
        echo "FAIL $peer: $name"
        tail -n 15 "$work/log" | sed 's/^/    /'
        failed=1
    fi
}
least() { [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }

# ---- what we make of a repository ----

whole() { "$gleaner" repo check --read-data -r "$repo"; }
ids() { # of all snapshots, as restic has them in JSON
    jq -r '.[] | [.id, .tree, .time, .hostname // "", (.tags // [] | join(",")), (.paths | join(","))] | join(" ")' | sort
}
each_verifies() { # with the PASSWORD; every tree of restic's comes out of our writer as it was
    local password=$1 again=${2:-} id
    for id in $("$gleaner" repo snapshots --json -r "$repo" | jq -r '.[].id'); do
        "$tool" verify "$repo" "$password" "$id" || return 1
        [ -z "$again" ] || "$tool" reencode "$repo" "$password" "$id" || return 1
    done
}
# is SNAPSHOT LISTING PLAIN RAW: we restore it equal to what a listing of the folder says
is() {
    local tree
    tree=$("$gleaner" repo snapshots --json -r "$repo" | jq -r --arg id "$1" '.[] | select(.id == $id) | .tree')
    [ -n "$tree" ] || { echo "snapshot $1 is not there"; return 1; }
    mkdir -p "$work/back"
    "$mover" restore "$repo" test "$tree" "$work/back" >"$work/said" || { cat "$work/said"; return 1; }
    [ ! -s "$work/said" ] || { cat "$work/said"; return 1; }
    # shellcheck disable=SC2086
    diff -a "$2" <("${folder[@]}" list "$work/back" ${3:-} ${4:-})
}
our_backup() { # prints the snapshot's id; our tags: backup:test
    "$mover" backup "$repo" test "$work/nasty" >"$work/said" && ! grep problem "$work/said" >&2 &&
        sed -n 's/^snapshot //p' "$work/said"
}
# Of all our snapshots that have the tag: the newest.
tagged() { "$gleaner" repo snapshots --json -r "$repo" | jq -r --arg tag "$1" '[.[] | select(.tags | index($tag))] | max_by(.time).id'; }
both_there() { # ours with the tag, restic's as well
    is "$(tagged backup:test)" "$work/is" '' '' && is "$(tagged theirs)" "$work/is.plain" plain $raw
}

# cheapen PASSWORD: we open it with their key, and put one in its place that costs no second each time.
cheapen() { "$tool" cheapen "$repo" "$1"; }

# ---- restic ----

same_list() { diff <("$restic" -r "$repo" snapshots --json | ids) <("$gleaner" repo snapshots --json -r "$repo" | ids); }
same_ls() { diff -a <("$restic" -q -r "$repo" ls latest --json | jq -c 'select(.struct_type == "node") | [.path, .type, .size, .mode, .uid, .gid, .mtime]' | sort) \
    <("$gleaner" repo ls latest --json -r "$repo" | jq -c 'select(.struct_type == "node") | [.path, .type, .size, .mode, .uid, .gid, .mtime]' | sort); }

restic_makes() { # VERSION COMPRESSION: a repository with two snapshots and two keys
    local compression=()
    [ "$1" = 1 ] || compression=(--compression "$2")
    "$restic" -r "$repo" init -q --repository-version "$1" && cheapen test &&
        (cd "$work/nasty" && "$restic" -r "$repo" "${compression[@]}" backup -q --tag theirs .) &&
        (cd "$work" && "$restic" -r "$repo" "${compression[@]}" backup -q --tag other nasty/deep nasty/links) &&
        echo second >"$work/second" && "$restic" -r "$repo" key add --new-password-file "$work/second" && cheapen second
}
read_theirs() { # VERSION COMPRESSION
    repo=$work/theirs-$1-$2
    local what="version $1, compression $2"
    check "makes a repository, $what" restic_makes "$1" "$2"
    check "we find it whole, $what" whole
    check "its snapshots and theirs by our list are the same, $what" same_list
    check "with its second password each snapshot verifies, each tree is what we would write, $what" each_verifies second $again
    check "we restore it equal, $what" is "$(tagged theirs)" "$work/is.plain" plain $raw
}
restic_rereads() {
    "$restic" -r "$repo" check -q --read-data && same_list
}
after() { # NAME COMMAND...: what stock restic does to a repository that both wrote
    check "after $1 we find it whole, both snapshots restore equal, our tags are there" after_it "${@:2}"
}
after_it() { "$@" && whole && both_there && restic_rereads; }
rewrites() { "$restic" -r "$repo" rewrite --forget --exclude /removed-not --tag backup:test && "$restic" -r "$repo" rewrite --exclude nothing --tag theirs; }
forgets() {
    (cd "$work/nasty/deep" && "$restic" -r "$repo" backup -q --tag gone .) &&
        "$restic" -r "$repo" forget -q --tag gone --keep-tag none "$(tagged gone)" && "$restic" -r "$repo" prune -q --max-unused 0
}
we_forget() {
    (cd "$work/nasty/deep" && "$restic" -r "$repo" backup -q --tag gone .) &&
        "$gleaner" repo forget -r "$repo" "$(tagged gone)" && we_prune
}
we_prune() { "$gleaner" repo prune -r "$repo" --max-unused 0; }
copies() { # the other repository has another polynomial and a key of its own
    local from=$repo
    repo=$work/copied
    "$restic" -r "$repo" init -q || return 1
    if least 0.14; then
        RESTIC_FROM_PASSWORD=test "$restic" -r "$repo" copy -q --from-repo "$from"
    else
        "$restic" -r "$from" copy -q --repo2 "$repo"
    fi && whole && both_there
}
reindexes() { if least 0.16; then "$restic" -r "$repo" repair index -q; else "$restic" -r "$repo" rebuild-index -q; fi; }
upgrades() { "$restic" -r "$repo" migrate upgrade_repo_v2 && "$restic" -r "$repo" prune -q --repack-uncompressed; }
mixes() { "$mixed" "$repo" test; }
ours_there() { [ -n "$(our_backup)" ]; }

works_on_ours() {
    repo=$work/theirs-2-auto
    check "we back up into it" ours_there
    check "reads what both wrote" restic_rereads
    check "lists what we list" same_ls
    after "tag" "$restic" -r "$repo" tag -q --add note:1
    if least 0.15; then after "rewrite" rewrites; fi
    after "forget and prune" forgets
    after "our tag" "$gleaner" repo tag -r "$repo" --add note:2
    after "our forget and prune" we_forget
    after "building the index anew" reindexes
    check "after copy we find it whole, both snapshots restore equal, our tags are there" copies
    repo=$work/theirs-2-auto
    after "we made packs of data and trees" mixes
    after "pruning packs of data and trees" "$restic" -r "$repo" prune -q --max-unused 0
    after "we made them once more" mixes
    after "our prune of packs of data and trees" we_prune
    repo=$work/theirs-1-off
    check "we back up into version 1" ours_there
    after "we made packs of data and trees, version 1" mixes
    after "our prune of them, version 1" we_prune
    after "migrate to version 2 and compressing all" upgrades
}

# The tests of the command line and of the store, with this restic as the judge.
by_it() { PATH=$work/judge:$PATH "$@"; }

with_restic() { # PROGRAM
    local script
    restic=$1
    mkdir -p "$work/judge" && ln -sfn "$restic" "$work/judge/restic"
    version=$("$restic" version | awk '{print $2}')
    peer="restic $version" raw=yes again=yes
    least 0.16 || raw=no # no raw link targets: our writer would add them
    [ "$raw" = yes ] || again=''
    "${folder[@]}" list "$work/nasty" plain $raw >"$work/is.plain"
    rm -rf "$work"/theirs-* "$work/copied" "$work/back"
    check "trees of the nastiest folder equal ours; checks, lists, dumps, restores, tags and rewrites ours" \
        "$top/tests/unit/mover_restic.sh" "$mover" "$restic"
    read_theirs 1 off
    read_theirs 2 auto
    read_theirs 2 off
    read_theirs 2 max
    works_on_ours
    [ "$restic" != "$(command -v restic)" ] || return 0 # ./test runs them with this one by themselves
    for script in "$top"/tests/unit/cli_repo*.sh; do
        check "judges $(basename "$script")" by_it "$script" "$gleaner" "$tool"
    done
    check "judges store.sh" by_it "$top/tests/e2e/store.sh" "$tool"
}

# ---- rustic ----

rustic() { "$rustic" --no-cache --no-progress -r "$repo" --password test "$@"; }
rustic_makes() { # two snapshots, a forgotten one, and packs that are marked for deletion
    rustic init "$@" && cheapen test && (cd "$work/nasty" && rustic backup --tag theirs .) &&
        (cd "$work/nasty" && rustic backup --tag other deep links) &&
        head -c 6000000 /dev/urandom >"$work/waste" && rustic backup --tag gone "$work/waste" &&
        rustic forget "$(tagged gone)" && rustic prune --keep-pack 0s
}
rustic_restores() { # but for what rustic loses of restic's as well
    rm -rf "$work/out" && rustic restore "$(tagged backup:test)" "$work/out" && diff -a \
        <("${folder[@]}" list "$work/nasty" plain | without_its_ways) <("${folder[@]}" list "$work/out" plain | without_its_ways)
}
# A mode of 0000 is not set; devices of two names become two devices.
without_its_ways() { grep -av -e '^empty ' -e '^links/block ' -e '^links/char '; }
rustic_lists() { [ "$(rustic snapshots --json | grep -c '"id":')" -ge 2 ]; }
rustic_dumps() { cmp <(rustic dump "$(tagged backup:test):/random") "$work/nasty/random"; }
rustic_ls() { [ "$(rustic ls "$(tagged backup:test)" | wc -l)" -ge "$(find "$work/nasty" -mindepth 1 ! -type s | wc -l)" ]; }
refuses() { ! "$@"; }
rereads() { rustic check --read-data && whole && both_there; }

adds_no_data() { # what it stored is not stored once more
    local before after
    before=$("$restic" -r "$repo" stats --mode raw-data --json | jq .total_size)
    ours_there && after=$("$restic" -r "$repo" stats --mode raw-data --json | jq .total_size) &&
        echo "$before bytes, then $after" && [ $((after - before)) -lt 300000 ]
}

with_rustic() { # PROGRAM
    rustic=$1 restic=$(command -v restic)
    peer="rustic $("$rustic" --version | awk '{print $2}')" raw=yes
    "${folder[@]}" list "$work/nasty" plain >"$work/is.plain"
    rm -rf "$work"/theirs-* "$work/back"
    repo=$work/theirs-rustic
    check "makes a repository, with packs marked for deletion" rustic_makes
    check "we find it whole" whole
    check "each snapshot verifies" each_verifies test ''
    check "we restore it equal" is "$(tagged theirs)" "$work/is.plain" plain yes
    check "we back up into it" ours_there
    check "checks, and we find whole, what both wrote" rereads
    check "lists the snapshots" rustic_lists
    check "lists our files" rustic_ls
    check "dumps our file" rustic_dumps
    check "restores ours equal" rustic_restores
    check "we do not prune where it has marked packs" refuses we_prune
    check "prunes beside ours" rustic prune --keep-pack 0s
    check "after it both are there" rereads
    repo=$work/theirs-rustic-extras
    check "makes a repository of its own pack sizes and compression" rustic_makes --set-compression 7 --set-treepack-size 1MiB --set-datapack-size 2MiB --set-version 2
    check "we find that whole, and restore it equal" eval 'whole && is "$(tagged theirs)" "$work/is.plain" plain yes'
    check "we back up into that" ours_there
    check "checks, and we find whole, what both wrote there" rereads
    repo=$work/theirs-rustic-fixed
    check "makes a repository of chunks of one size" rustic_makes --set-chunker fixed_size --set-chunk-size 256KiB
    check "we find that whole too, and restore it equal" eval 'whole && is "$(tagged theirs)" "$work/is.plain" plain yes'
    check "we back up into that, in the same chunks" adds_no_data
    check "checks, and we find whole, what both wrote there" rereads
    repo=$work/ours
    check "we make a repository" eval '"$gleaner" repo init -r "$repo" && ours_there'
    check "reads our repository" rustic check --read-data
    check "restores from ours" rustic_restores
}

"${folder[@]}" make "$work/nasty" || exit 1
"${folder[@]}" list "$work/nasty" >"$work/is"
[[ $peers != *" debian "* ]] || with_restic "$(command -v restic)"
for name in restic rustic; do
    [[ $peers == *" $name "* ]] || continue
    if program=$("$top/bench/peers" --where $name); then
        "with_$name" "$program"
    else
        echo "SKIP $name, the newest that we compare with: not built here (bench/peers $name builds it)"
    fi
done
echo "END interop"
exit $failed
