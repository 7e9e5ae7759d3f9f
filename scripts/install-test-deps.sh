#!/bin/sh
# Installs what the end-to-end tests use beside Node: real registries and container runtimes from Debian's packages.
# Starts none of their services. Needs root: sudo scripts/install-test-deps.sh
set -eu

PACKAGES='adduser busybox-static containerd docker-compose docker-registry docker.io fish iproute2 mount nginx openssl podman procps runc skopeo systemd umoci util-linux zsh zstd'

if ! command -v apt-get >/dev/null; then
  echo "This script knows Debian and what derives from it. Elsewhere install: $PACKAGES" >&2
  exit 1
fi

missing=''
for package in $PACKAGES; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo 'All packages for the end-to-end tests are installed.'
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Not root. Run: sudo $0" >&2
  exit 1
fi

# The packages' scripts ask this file whether they may start services.
policy=/usr/sbin/policy-rc.d
saved=$(mktemp -d)
restore() {
  rm -f "$policy"
  if [ -e "$saved/policy-rc.d" ]; then cp -p "$saved/policy-rc.d" "$policy"; fi
  rm -rf "$saved"
}
if [ -e "$policy" ]; then cp -p "$policy" "$saved/policy-rc.d"; fi
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
apt-get install -y -qq --no-install-recommends $missing </dev/null
