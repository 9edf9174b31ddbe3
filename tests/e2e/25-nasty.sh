#!/usr/bin/env bash
# All that a Linux file system holds, on a claim: backed up, destroyed and restored by movers in pods
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
volume=$(kubectl -n shop get pvc data-shop-0 -o jsonpath='{.spec.volumeName}')
folder=$(kubectl get pv "$volume" -o jsonpath='{.spec.hostPath.path}{.spec.local.path}') # on this node
nasty() { python3 "$top/tests/unit/nasty_folder.py" "$@"; }
state() { nasty list "$folder/nasty" && nasty list "$folder/by-pod" && root_state; }
root_state() { python3 -c 'import os, sys; p = sys.argv[1]; print({x: os.getxattr(p, x) for x in os.listxattr(p)}, oct(os.stat(p).st_mode))' "$folder"; }
export LC_ALL=C # names of any bytes are no reason for grep to give up
security() { kubectl label namespace shop pod-security.kubernetes.io/enforce"$1" --overwrite >/dev/null; }
trap 'rm -rf "$folder/nasty" "$folder/by-pod"; security -' EXIT

# What a pod's own tools make, and on the node's side of the same volume what they cannot.
make_all() {
    rm -rf "$folder/nasty" "$folder/by-pod"
    kubectl -n shop exec shop-0 -- sh -c 'umask 022; mkdir /data/by-pod && cd /data/by-pod &&
        mkfifo pipe && ln pipe pipe2 && mknod null c 1 3 && mknod loop b 7 0 && echo x >"new
line" && ln -s "new
line" link && chmod 4750 "new
line" && chown 5:6 pipe && chmod 2770 . && touch -d "1969-12-31 23:00:00" pipe' </dev/null &&
        nasty make "$folder/nasty" pod &&
        python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.root", b"of the volume")' "$folder"
}
must "a nasty folder lies on the claim" make_all
before=$(state | base64)
size_before=$(du -sk "$folder/nasty" | cut -f1)

must "the namespace admits what Pod Security's baseline allows" security =baseline
must "it is backed up, and the Backup is Completed" backup_app e2e-nasty-$$ shop
row() { kubectl -n gleaner-system get backup e2e-nasty-$$ -o json | jq -r '.status.volumes[] | select(.claim == "data-shop-0") | .'"$1"; }
check "nothing of the volume is named as lost" same "Completed null" "$(row phase) $(row problems)"
check "stock restic check --read-data finds no fault" stock_restic shop check --read-data
check "stock restic lists a device" contains "$(backup_files e2e-nasty-$$ shop)" /volumes/data-shop-0/nasty/block

destroy() {
    rm -rf "$folder/by-pod" "$folder/nasty/char" "$folder/nasty/links" "$folder/nasty/sock" &&
        head -c 21000000 /dev/urandom >"$folder/nasty/sparse" && chmod 0777 "$folder/nasty/acl" "$folder/nasty/random" &&
        touch "$folder/nasty/plain" "$folder/nasty/extra" && rm "$folder/nasty/fifo" && echo x >"$folder/nasty/fifo" &&
        python3 - "$folder" <<'X'
import os, sys
os.chdir(sys.argv[1])
os.removexattr(".", "user.root")
os.setxattr("nasty/zeros", "user.zz", b"another")
os.setxattr("nasty/emptydir", "user.extra", b"to be removed")
os.removexattr("nasty/acl", "system.posix_acl_default")
os.removexattr("nasty/random", "security.capability")
X
}
must "it is destroyed" destroy
check "it is another now" not same "$before" "$(state 2>/dev/null | base64)"
apply_restore e2e-nasty-$$ e2e-nasty-$$
must "one applied Restore ends Done" ended_as restore e2e-nasty-$$ Done 300
state | base64 -w0 >"$work/nasty-after"
base64 -d <<<"$before" >"$work/nasty-before"
check "all is equal: types, bytes, owners, modes, times, links, attributes, ACLs, capabilities, devices" \
    diff -a "$work/nasty-before" <(base64 -d "$work/nasty-after")
check "holes are holes again" test "$(du -sk "$folder/nasty" | cut -f1)" -le $((size_before + 200))
sees_device() { contains "$(kubectl -n shop exec shop-0 -- stat -c '%t %T %h %F' /data/by-pod/null 2>&1 </dev/null)" "1 3"; }
check "the pod that comes back sees its device again" wait_for "its device" 60 sees_device
check "no mover is left" wait_for "no mover" 60 kubectl_is '' get pods -A -l gleaner.dev/mover -o name
end
