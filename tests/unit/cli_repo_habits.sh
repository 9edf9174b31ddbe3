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
code 0 repo --compression max --pack-size 8 backup -q --host packed "$work/tree"
code 0 repo forget -q --host packed --unsafe-allow-remove-all
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

# ---- passwords: typed, twice if new, again if wrong, and never with the echo left off; or piped
unset RESTIC_PASSWORD_FILE
cat >talk.py <<'PY'
"""talk.py CODE ANSWERS COMMAND...: on a terminal of its own, one answer (of a,b,c) to each question."""
import fcntl, os, re, subprocess, sys, termios
code, answers, command = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
master, slave = os.openpty()
def begin():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def echoes():
    return bool(termios.tcgetattr(slave)[3] & termios.ECHO)
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=begin)
said = b""
for answer in answers:
    question = b""
    while not re.search(rb"(of the( new)? repository|new password|again): $", question):
        question += os.read(master, 1)
    said += question
    assert not echoes(), "the password would be shown"
    os.write(master, answer.replace("^C", "\x03").encode() + (b"" if "^C" in answer else b"\n"))
is_code = child.wait()
assert echoes(), "the echo is left off: " + said.decode()
os.close(slave)
try:
    while True:
        said += os.read(master, 4096)
except OSError: # all is read, and nobody writes any more
    pass
print(said.decode())
assert is_code == code, "exit code %d, not %d: %s" % (is_code, code, said.decode())
PY
talk() { python3 talk.py "$@" >talked 2>&1 || fail "talk $*: $(cat talked)"; }
right=$(cat password)
talk 0 "wrong,$right" "$gleaner" repo snapshots
talk 1 "wrong,$right" "$gleaner" repo ls nothing # not 12: it was opened
talk 12 "wrong,worse,worst" "$gleaner" repo snapshots
talk -2 "^C" "$gleaner" repo snapshots
talk 1 "one,another" "$gleaner" repo init -r "$work/typed"
grep -q "the two passwords differ" talked || fail "init: $(cat talked)"
[ ! -e typed ] || fail "init made a repository with a password that was mistyped"
talk 0 "one,one" "$gleaner" repo init -r "$work/typed"
talk 1 "next,other" "$gleaner" repo key passwd -p password
echo "$right" >with-newline
code 0 repo snapshots --json <with-newline
[ "$(jq length out)" = 4 ] || fail "a password from a pipe: $(cat out)"
code 12 repo snapshots <<<wrong
code 1 repo snapshots </dev/null
says RESTIC_PASSWORD_FILE
code 0 repo snapshots -r "$work/typed" <<<one
export RESTIC_PASSWORD_FILE=$work/password

# ---- options that mean nothing here, those of S3, limits
code 0 repo snapshots --cache-dir "$work/cache" --cleanup-cache --no-cache --no-extra-verify --limit-upload 500 --limit-download 500 -o local.connections=2
code 1 repo snapshots --limit-upload fast
says "--limit-upload fast"
code 1 repo snapshots --limit-download -1
says "--limit-download -1"
for wrong in s3.list=x s3.bucket-lookup=host s3.region sftp.command=x; do
    code 1 repo snapshots -o $wrong
    says "-o $wrong:"
done
cat >nothing.py <<'PY'
"""An S3 server that has nothing: notes what it is asked, and for whom."""
import http.server
class Nothing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as f:
            print(self.headers["Host"].split(":")[0], self.path.split("?")[0], self.headers["Authorization"], file=f)
        self.send_error(404)
    do_HEAD = do_GET
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Nothing)
print(server.server_port, flush=True)
server.serve_forever()
PY
mkfifo port
python3 nothing.py >port &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
read -r port <port
export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret
code 10 repo snapshots -r "s3:http://localhost:$port/bucket/below" -o s3.region=eu-nowhere-1
grep -q '^localhost /bucket/below/config .*/eu-nowhere-1/s3/' asked || fail "s3.region: $(cat asked)"
: >asked
code 10 repo -o s3.bucket-lookup=dns -r "s3:http://localhost:$port/bucket/below" snapshots
grep -q '^bucket.localhost /below/config ' asked || fail "s3.bucket-lookup: $(cat asked)"

# ---- what init and backup write and print
code 0 repo init --json -r "local:$work/printed"
[ "$(jq -r .repository out)" = "local:$work/printed" ] || fail "init --json: $(cat out)"
is=0
env -u USER "$gleaner" repo backup -q --host nobody "$work/tree" || is=$?
[ $is -eq 0 ] || fail "backup without \$USER: exit code $is"
code 0 repo snapshots --json --host nobody
[ "$(jq -r '.[0].username' out)" = "$(id -un)" ] || fail "backup without \$USER: $(cat out)"
[ "$(jq -c '.[0].summary | keys - ["backup_start", "backup_end"]' out)" = \
    '["data_added","files_unmodified","total_bytes_processed","total_files_processed"]' ] || fail "the summary has what was not counted: $(cat out)"
id=$(jq -r '.[0].id' out)
[ "$(restic cat snapshot "$id" 2>/dev/null | jq -c '.summary | has("files_new")')" = false ] || fail "a count of nothing is stored"
echo "cli_repo_habits: restic's habits at the command line are kept"
