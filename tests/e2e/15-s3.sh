#!/usr/bin/env bash
# Repositories in a bucket: ours and restic's, each read by the other; refusals; a server that restarts
#
# GLEANER names the program; default: the image's. The server judges our signatures and checksums.
. "$(dirname "$0")/checks.sh"
gleaner=${GLEANER:-$gleaner}
must "the S3 server is up" "$top/tests/cluster/up" s3
server_log=$(dirname "$GLEANER_GIT_ROOT")/logs/s3.log
state=$(mktemp -d "${TMPDIR:-/tmp}/gleaner-s3.XXXXXX")
trap 'rm -rf "$state"' EXIT
export AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY
export RESTIC_PASSWORD_FILE=$state/password RESTIC_CACHE_DIR=$state/cache LC_ALL=C.UTF-8
echo 'a password of more than 128 bits' >"$RESTIC_PASSWORD_FILE"
bucket=gleaner-test-$(date +%s)
ours="s3:$GLEANER_S3_URL/$bucket/with space/ä&+=b" theirs=s3:$GLEANER_S3_URL/$bucket/theirs
mkdir -p "$state/tree/a/b"
echo text >"$state/tree/a/b/text"
head -c 40000000 /dev/urandom >"$state/tree/large"
ln -s large "$state/tree/link"

repo() { # VERB REPOSITORY ARGUMENTS...
    local verb=$1 repository=$2
    shift 2
    "$gleaner" repo "$verb" --repo "$repository" --cacert "$GLEANER_S3_CA" "$@"
}
stock() { # REPOSITORY ARGUMENTS...
    restic -q -r "$1" --cacert "$GLEANER_S3_CA" "${@:2}"
}
refuses() { # PATTERN COMMAND...: it fails, says so, and no secret
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) && { echo "not refused: $said"; return 1; }
    grep -qE -- "$pattern" <<<"$said" || { echo "$said"; return 1; }
    ! grep -F -e "$GLEANER_S3_SECRET_KEY" -e other-secret <<<"$said"
}
snapshots() { # REPOSITORY NUMBER
    local found
    found=$(repo snapshots "$1" --json) && same "$2" "$(jq length <<<"$found")"
}
lists() { # REPOSITORY PATH
    local found
    found=$(repo ls "$1" latest) && contains "$found" "$2"
}
restores() { # REPOSITORY
    rm -rf "$state/out"
    stock "$1" restore latest --target "$state/out" && diff -r --no-dereference "$state/tree" "$state/out$state/tree"
}
no_locks() { same '' "$(stock "$1" list locks --no-lock)"; }
puts() { grep -c ' | PUT | ' "$server_log"; }
stores_nothing() { # an unchanged backup: its lock and its snapshot
    local before
    before=$(puts)
    repo backup "$ours" "$state/tree" || return 1
    same 2 $(($(puts) - before))
}
restarts() { # the server dies while we write to it, and comes back
    local status=0 pid
    "$top/tests/cluster/stop" --kill s3 || return 1
    echo more >"$state/tree/more"
    repo backup "$ours" "$state/tree" >"$state/said" 2>&1 &
    pid=$!
    "$top/tests/cluster/up" s3 || status=1
    wait $pid || { cat "$state/said"; status=1; }
    return $status
}

check "no repository: the next step is named" refuses "repo init" repo snapshots "$ours"
must "init makes the bucket" repo init "$ours"
check "init does not make it anew" refuses "already" repo init "$ours"
check "backup" repo backup "$ours" "$state/tree"
check "snapshots" snapshots "$ours" 1
check "ls" lists "$ours" "$state/tree/a/b/text"
check "restic check --read-data" stock "$ours" check --read-data
check "restic restores the same" restores "$ours"
check "an unchanged backup stores a lock and a snapshot" stores_nothing
check "restic adds a snapshot" stock "$ours" backup "$state/tree"
check "which we list" snapshots "$ours" 3
check "a server that restarts is waited for" restarts
check "restic check --read-data after it" stock "$ours" check --read-data
check "no lock is left" no_locks "$ours"

check "restic init" stock "$theirs" init --repository-version 2
check "restic backup" stock "$theirs" backup "$state/tree"
check "we list what restic wrote" snapshots "$theirs" 1
check "and what is in it" lists "$theirs" "$state/tree/a/b/text"
check "we back up into it" repo backup "$theirs" "$state/tree"
check "restic prune of both" stock "$theirs" prune
check "restic check --read-data of both" stock "$theirs" check --read-data

check "another region is corrected" env AWS_DEFAULT_REGION=eu-west-9 "$gleaner" repo snapshots --repo "$ours" --cacert "$GLEANER_S3_CA"
check "a wrong secret" refuses SignatureDoesNotMatch env AWS_SECRET_ACCESS_KEY=other-secret "$gleaner" repo snapshots --repo "$ours" --cacert "$GLEANER_S3_CA"
check "no credentials" refuses "AWS_ACCESS_KEY_ID" env -u AWS_ACCESS_KEY_ID HOME=/nonexistent "$gleaner" repo snapshots --repo "$ours" --cacert "$GLEANER_S3_CA"
check "a certificate of nobody" refuses "not trusted" "$gleaner" repo snapshots --repo "$ours"
check "a bucket that is not there" refuses NoSuchBucket repo snapshots "s3:$GLEANER_S3_URL/$bucket-none/x"
end
