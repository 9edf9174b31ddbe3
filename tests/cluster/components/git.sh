# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# The Git server: bare repositories in $git_root, one URL for pods and for processes of this machine.

git_up() {
    mkdir -p "$git_root"
    start_process git -f "$here/git-server.py" /usr/bin/python3 "$here/git-server.py" $address $git_port "$git_root"
    wait_healthy git 10 git_healthy
}
git_healthy() { http_ok "$git_url/healthz"; }
