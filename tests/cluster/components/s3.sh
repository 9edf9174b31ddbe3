# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# Two S3 servers with certificates of the cluster's CA, only where they are asked for: versitygw over a
# folder, and MinIO, which judges more strictly (and has its own ideas of multipart, versions and locks).

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

minio_up() {
    require_programs minio
    make_pki
    make_certificate minio /CN=minio "IP:$address"
    mkdir -p "$minio_root" "$conf/minio"
    write_file "$conf/minio/public.crt" <"$pki/minio.crt"
    write_file "$conf/minio/private.key" <"$pki/minio.key"
    start_process minio -f "$conf/minio/public.crt" -e MINIO_ROOT_USER=$s3_access_key -e MINIO_ROOT_PASSWORD=$s3_secret_key \
        -e MINIO_BROWSER=off -e MINIO_UPDATE=off -e MINIO_API_REQUESTS_MAX=200 \
        minio server --quiet --address $address:$minio_port --certs-dir "$conf/minio" "$minio_root"
    wait_healthy minio 20 minio_healthy
}
minio_healthy() { http_ok --cacert "$pki/ca.crt" "$minio_url/minio/health/live"; }
