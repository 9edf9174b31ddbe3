# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# An S3 server (versitygw over a folder) with a certificate of the cluster's CA; only where it is asked for.

s3_up() {
    require_programs versitygw
    make_pki
    make_certificate s3 /CN=s3 "IP:$address"
    mkdir -p "$s3_root"
    start_process s3 -f "$pki/s3.crt" -e ROOT_ACCESS_KEY=$s3_access_key -e ROOT_SECRET_KEY=$s3_secret_key \
        versitygw --port $address:$s3_port --cert "$pki/s3.crt" --key "$pki/s3.key" --health /healthz posix "$s3_root"
    wait_healthy s3 10 s3_healthy
}
s3_healthy() { http_ok --cacert "$pki/ca.crt" "$s3_url/healthz"; }
