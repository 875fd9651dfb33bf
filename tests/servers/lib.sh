# shellcheck shell=bash
# Shared by tests/servers/fetch, tests/run and quickstart: messages, packages, and private servers on 127.0.0.1.
# shellcheck disable=SC2034  # used by the scripts that read this file

server_cache=${KUBEDR_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set KUBEDR_TEST_CACHE to a folder for the test servers}/.cache}/kubedr-test-servers}
server_bin=$server_cache/bin

# What the product needs to be built; the tests add to it.
build_packages=(g++ cmake ninja-build pkg-config libcli11-dev libcurl4-openssl-dev libyaml-cpp-dev libssl-dev
  libspdlog-dev libfmt-dev nlohmann-json3-dev libzstd-dev libpugixml-dev libprotozero-dev libcpp-httplib-dev)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die WHAT [WHAT TO DO]
die() {
  say "$1"
  [[ $# -lt 2 ]] || say "what to do: $2"
  exit 1
}

# --- packages --------------------------------------------------------------------------------------------------

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@"  # never waits for a password that nobody can type
  fi
}

# need_packages PACKAGE...: installs those that are missing, and says so.
need_packages() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null; then
    [[ -n ${KUBEDR_SKIP_PACKAGES:-} ]] && return
    die "this is no Debian or Ubuntu, packages cannot be installed here" \
      "install the counterparts of these by hand, then set KUBEDR_SKIP_PACKAGES=1: $*"
  fi
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing: ${missing[*]}"
  if ((EUID != 0)) && ! command -v sudo >/dev/null; then
    die "not root and no sudo" "as root: apt-get install ${missing[*]}"
  fi
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3
    install -y --no-install-recommends "${missing[@]}")
  # The lists may be missing or too old to name files that still exist.
  as_root "${install[@]}" >/dev/null 2>&1 ||
    { as_root apt-get -qq -o Acquire::Retries=3 update >&2 && as_root "${install[@]}" >&2; } ||
    die "apt-get could not install ${missing[*]}, its words are above" "install them by hand and start again"
}

# --- private servers -------------------------------------------------------------------------------------------

server_pids=()

# Ends every server that this script started; for a trap on EXIT. By SIGKILL: their data goes too, and a kube-apiserver
# whose etcd is gone does not end on SIGTERM.
stop_servers() {
  local pid
  for pid in "${server_pids[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
    { wait "$pid" || true; } 2>/dev/null
  done
  server_pids=()
}

# A port of 127.0.0.1 that nobody listens on, below the range that the kernel hands out itself.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

# start_server LOG COMMAND...
start_server() {
  local log=$1
  shift
  "$@" </dev/null >"$log" 2>&1 &
  server_pids+=($!)
}

# wait_ready NAME LOG COMMAND...: until COMMAND succeeds; the server must be the one started last.
wait_ready() {
  local name=$1 log=$2 pid=${server_pids[-1]} tries
  shift 2
  for ((tries = 0; tries < 300; tries++)); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$log" >&2
  die "$name did not become ready, the end of its log is above" "start again; if it repeats, look for what its log names"
}

# make_pki DIR: a certificate authority, a server certificate for 127.0.0.1, a client certificate, a signing key.
make_pki() {
  local dir=$1 name
  mkdir -p "$dir"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=private-ca \
    -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
  for name in server client; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
      -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 90 \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n') \
      -out "$dir/$name.crt" 2>/dev/null
    rm "$dir/$name.csr"
  done
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/sa.key" 2>/dev/null
  openssl pkey -in "$dir/sa.key" -pubout -out "$dir/sa.pub"
}

# start_etcd ETCD DATA_DIR PKI PORT LOG: mutual TLS, one member, no peers.
start_etcd() {
  local etcd=$1 data=$2 pki=$3 port=$4 log=$5 peer
  peer=$(free_port)
  start_server "$log" "$etcd" --data-dir "$data" --name default \
    --listen-client-urls "https://127.0.0.1:$port" --advertise-client-urls "https://127.0.0.1:$port" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" \
    --client-cert-auth --trusted-ca-file "$pki/ca.crt" --cert-file "$pki/server.crt" --key-file "$pki/server.key"
  wait_ready etcd "$log" curl -fsS --noproxy '*' --cacert "$pki/ca.crt" --cert "$pki/client.crt" --key "$pki/client.key" \
    "https://127.0.0.1:$port/health"
}

# start_kube_apiserver BINARY DIR PKI ETCD_PORT PORT TOKEN LOG: RBAC; TOKEN is a member of system:masters.
start_kube_apiserver() {
  local binary=$1 dir=$2 pki=$3 etcd_port=$4 port=$5 token=$6 log=$7
  mkdir -p "$dir"
  (umask 077 && printf '%s,admin,admin,"system:masters"\n' "$token" >"$dir/tokens.csv")
  start_server "$log" "$binary" --etcd-servers "https://127.0.0.1:$etcd_port" \
    --etcd-cafile "$pki/ca.crt" --etcd-certfile "$pki/client.crt" --etcd-keyfile "$pki/client.key" \
    --bind-address 127.0.0.1 --secure-port "$port" --cert-dir "$dir" \
    --tls-cert-file "$pki/server.crt" --tls-private-key-file "$pki/server.key" \
    --token-auth-file "$dir/tokens.csv" --authorization-mode RBAC \
    --service-account-issuer "https://127.0.0.1:$port" --service-account-key-file "$pki/sa.pub" \
    --service-account-signing-key-file "$pki/sa.key" --service-cluster-ip-range 10.0.0.0/24 \
    --disable-admission-plugins ServiceAccount --endpoint-reconciler-type none
  wait_ready kube-apiserver "$log" curl -fsS --noproxy '*' --cacert "$pki/ca.crt" \
    -H "@$(token_header "$dir" "$token")" "https://127.0.0.1:$port/readyz"
}

# A file for curl's -H: a token in an argument could be read by everybody.
token_header() {
  (umask 077 && printf 'Authorization: Bearer %s\n' "$2" >"$1/header")
  echo "$1/header"
}

# write_kubeconfig FILE PKI PORT TOKEN
write_kubeconfig() {
  (umask 077 && cat >"$1") <<EOF
apiVersion: v1
kind: Config
current-context: private
clusters:
- name: private
  cluster: {server: "https://127.0.0.1:$3", certificate-authority: $2/ca.crt}
users:
- name: admin
  user: {token: "$4"}
contexts:
- name: private
  context: {cluster: private, user: admin}
EOF
}

# start_minio BINARY DATA_DIR PORT USER PASSWORD LOG
start_minio() {
  local binary=$1 data=$2 port=$3 user=$4 password=$5 log=$6
  mkdir -p "$data"
  start_server "$log" env MINIO_ROOT_USER="$user" MINIO_ROOT_PASSWORD="$password" MINIO_UPDATE=off MINIO_BROWSER=off \
    "$binary" server --quiet --address "127.0.0.1:$port" --console-address "127.0.0.1:$(free_port)" "$data"
  wait_ready MinIO "$log" curl -fsS --noproxy '*' "http://127.0.0.1:$port/minio/health/ready"
}
