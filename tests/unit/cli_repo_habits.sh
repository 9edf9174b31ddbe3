#!/usr/bin/env bash
# What a user of restic is used to at the command line: hosts of the environment, flags before the
# verb, full names, errors that name the word: cli_repo_habits.sh GLEANER STORE_TOOL
set -euo pipefail
gleaner=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password RESTIC_CACHE_DIR=$work/cache TZ=UTC
echo 'a password of more than 128 bits' >"$work/password"
fail() { echo "cli_repo_habits: $*" >&2; exit 1; }
code() { # CODE ARGUMENTS...
    local want=$1 is=0
    shift
    "$gleaner" "$@" >"$work/out" 2>"$work/err" || is=$?
    [ $is -eq "$want" ] || fail "$*: exit code $is, not $want: $(cat "$work/out" "$work/err")"
}
says() { grep -qF -- "$1" "$work/err" || fail "no '$1' in: $(cat "$work/err")"; }
prints() { grep -qF -- "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"; }

cd "$work"
mkdir tree
"$gleaner" repo init -q >/dev/null
"$tool" cheapen "$work/repo" "$(cat password)"
for host in web1 web1 web2 web2; do
    echo "$host" >>tree/file
    code 0 repo backup -q --host $host "$work/tree"
done
cp -a repo repo.whole
fresh() { chmod -R u+w repo; rm -rf repo; cp -a repo.whole repo; }
hosts() { "$gleaner" repo snapshots --json "$@" | jq -r '.[].hostname' | sort | uniq -c | tr -s ' \n' ' '; }

# ---- $RESTIC_HOST is what --host says unless it says something else
export RESTIC_HOST=web1
[ "$(hosts)" = " 2 web1 " ] || fail "snapshots of \$RESTIC_HOST: $(hosts)"
[ "$(hosts --host web2)" = " 2 web2 " ] || fail "--host does not win"
[ "$(hosts --host '')" = " 2 web1 2 web2 " ] || fail "--host '' is not all"
id=$("$gleaner" repo snapshots --json --host web2 | jq -r '.[0].id')
[ "$(hosts "$id")" = " 1 web2 " ] || fail "a snapshot that is named is not found"
code 0 repo stats --json
[ "$(jq .snapshots_count out)" = 2 ] || fail "stats: $(cat out)"
code 0 repo find --json file
[ "$(jq length out)" = 2 ] || fail "find: $(cat out)"
code 0 repo dump latest "$work/tree/file"
[ "$(tail -1 out)" = web1 ] || fail "dump latest of another host: $(cat out)"
code 0 repo ls --json latest
[ "$(jq -rs '.[0].hostname' out)" = web1 ] || fail "ls latest of another host: $(head -1 out)"
code 0 repo restore -q latest --target "$work/back"
[ "$(tail -1 "back$work/tree/file")" = web1 ] || fail "restore latest of another host"
code 0 repo tag --json --add mine
[ "$(RESTIC_HOST='' hosts --tag mine)" = " 2 web1 " ] || fail "tag: $(RESTIC_HOST='' hosts --tag mine)"
code 0 repo forget -q --keep-last 1 --group-by ''
[ "$(RESTIC_HOST='' hosts)" = " 1 web1 2 web2 " ] || fail "forget took another host's: $(RESTIC_HOST='' hosts)"
code 2 repo forget --unsafe-allow-remove-all --host ''
[ "$(RESTIC_HOST='' hosts)" = " 1 web1 2 web2 " ] || fail "what was refused removed something"
unset RESTIC_HOST
fresh

# ---- flags before the verb, and values of switches
unset RESTIC_REPOSITORY RESTIC_PASSWORD_FILE
code 0 repo -r "$work/repo" -p"$work/password" snapshots --json --latest 1
[ "$(jq length out)" = 2 ] || fail "flags before the verb: $(cat out)"
code 0 repo --repo="$work/repo" --verbose --password-file "$work/password" ls latest "$work/tree"
prints "$work/tree/file"
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD_FILE=$work/password
code 0 repo snapshots --json=true --verbose=2 -vv
jq -e length out >/dev/null || fail "--json=true: $(cat out)"
code 0 repo snapshots --json=false
! jq -e . out >/dev/null 2>&1 || fail "--json=false prints JSON"
code 2 repo snapshots --json=perhaps
says "--json=perhaps"
code 2 repo -r
says "-r: a value is missing"
code 2 repo --bogus snapshots
says "--bogus: no such option"

# ---- only full names: what is cut short could be another option
touch "repo/locks/$(printf '00%.0s' $(seq 32))"
code 2 repo unlock --remove
says "--remove: no such option"
[ -n "$(ls -A repo/locks)" ] || fail "unlock --remove removed a lock"
fresh

# ---- what is wrong is named
code 2 repo snapshots -qZ
says "-Z: no such option"
code 2 repo snapshots --latest
says "--latest: a value is missing"
code 2 repo snapshot
says "'snapshot' is no verb"
grep -q '^  snapshots' err || fail "the verbs are not listed: $(cat err)"
for help in "repo help" "repo --help" "repo help ls" "help" "help plan" "repo version" "version"; do
    # shellcheck disable=SC2086
    code 0 $help
    [ -s out ] && [ ! -s err ] || fail "$help: nothing is printed, or to stderr: $(cat err)"
done
code 0 repo help ls
prints "usage: gleaner repo ls"
code 2 repo help bogus
says "'bogus' is no verb"

# ---- what cannot be printed is an error
code 0 repo list snapshots
status=0
"$gleaner" repo cat snapshot "$(head -1 out)" >/dev/full 2>err || status=$?
[ $status -eq 1 ] || fail "nothing could be written: exit code $status"
says "stdout"

# ---- only where there is no repository a next step is to make one
code 1 repo cat blob "$(printf '00%.0s' $(seq 32))"
! grep -q "repo init" err || fail "a blob is missing: $(cat err)"
code 10 repo snapshots -r "$work/none"
says "repo init"

# ---- snapshots by the beginning of an id, one of several that is none, paths
ids=$("$gleaner" repo list snapshots)
for id in $ids; do
    for digits in 1 2 3; do
        [ "$(grep -c "^${id:0:digits}" <<<"$ids")" = 1 ] || continue
        code 0 repo snapshots --json "${id:0:digits}"
        [ "$(jq -r '.[].id' out)" = "$id" ] || fail "${id:0:digits} is not $id: $(cat out)"
        break
    done
done
while [ "$(cut -c1 <<<"$ids" | sort -u | wc -l)" = "$(wc -l <<<"$ids")" ]; do # until two begin alike
    code 0 repo backup -q --host more "$work/tree"
    ids=$("$gleaner" repo list snapshots)
done
code 1 repo ls "$(cut -c1 <<<"$ids" | sort | uniq -d | head -1)"
says "snapshots' ids"
one=$(head -1 <<<"$ids")
for verb in "snapshots --json" "stats --json" "tag --json --add found" "forget"; do
    [ "$verb" != forget ] || one=$("$gleaner" repo snapshots --json --tag found | jq -r '.[].id')
    # shellcheck disable=SC2086
    code 3 repo $verb zzzz "$one"
    says 'Ignoring "zzzz"'
    case $verb in
    snapshots*) [ "$(jq -r '.[].id' out)" = "$one" ] || fail "$verb: $(cat out)" ;;
    stats*) [ "$(jq .snapshots_count out)" = 1 ] || fail "$verb: $(cat out)" ;;
    tag*) [ "$(jq -s '.[-1].changed_snapshots' out)" = 1 ] || fail "$verb: $(cat out)" ;;
    forget) ! "$gleaner" repo list snapshots | grep "$one" || fail "forget left the one that it knows" ;;
    esac
done
before=$("$gleaner" repo list snapshots)
code 1 repo forget zzzz yyyy
says 'Ignoring "yyyy"'
[ "$before" = "$("$gleaner" repo list snapshots)" ] || fail "forget of none removed one"
all=$(wc -l <<<"$before")
for path in "$work/tree/" "$work//tree/../tree/." tree ./tree/; do
    code 0 repo snapshots --json --path "$path"
    [ "$(jq length out)" = "$all" ] || fail "--path $path: $(jq length out) of $all"
done
code 0 repo snapshots --json --path tre
[ "$(jq length out)" = 0 ] || fail "--path of a part of the name matches"
fresh

# ---- patterns that are none
for pattern in '[bad' 'a/[b-]/c' 'x\' '[]' '[^]' '/a/[z'; do
    code 1 repo find "$pattern"
    says "invalid pattern '$pattern'"
done
for pattern in '[a-c]' '[^x]*' 'f\[' '[\]]' '[e-g]ile'; do code 0 repo find --json "$pattern"; done
[ "$(jq length out)" = 4 ] || fail "find [e-g]ile: $(cat out)"
code 0 repo find --json '' # all, as with restic
[ "$(jq '.[0].hits > 1' out)" = true ] || fail "find '': $(cat out)"

# ---- one JSON text
code 0 repo forget --json --prune --keep-last 1 --group-by ''
[ "$(jq -s 'length' out)" = 1 ] && [ "$(jq '.[0].remove | length' out)" = 3 ] || fail "forget --prune --json: $(cat out)"
[ "$("$gleaner" repo list packs | wc -l)" -lt "$(find repo.whole/data -type f | wc -l)" ] || fail "nothing was pruned"
fresh
