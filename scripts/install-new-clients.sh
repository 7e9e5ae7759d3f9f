#!/bin/sh
# Unpacks the newest container clients that Debian has below a folder, for the end-to-end tests to run beside the ones
# that are installed: scripts/install-new-clients.sh [DIR]. The tests look in the same DIR, or where NEW_CLIENTS says.
# Neither the machine's packages nor its apt configuration are touched: apt works with lists and a cache of its own.
# Once it is there nothing is fetched again; remove DIR to get newer ones. Needs root.
set -eu

PACKAGES='containerd docker-cli docker.io podman runc skopeo'
# What moves slower first; there are times when it lacks a package.
SUITES='testing sid'
FALLBACK_MIRROR='http://deb.debian.org/debian'
KEYRING='/usr/share/keyrings/debian-archive-keyring.gpg'

dir=${1:-${NEW_CLIENTS:-/var/cache/layerswarm-new-clients}}

fail() {
  echo "install-new-clients: $*" >&2
  exit 1
}

for program in apt-get dpkg-deb flock; do
  command -v $program >/dev/null || fail "$program is missing: this script knows Debian and what derives from it"
done
[ "$(id -u)" -eq 0 ] || fail "not root. Run: sudo $0 $dir"
[ -r "$KEYRING" ] || fail "$KEYRING is missing. Run: apt-get install debian-archive-keyring"

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
case $dir in *[!A-Za-z0-9_./-]*) fail "$dir: a path of plain characters is needed, for it goes into files of apt's" ;; esac
exec 9>"$dir/lock"
flock 9

# Written last, so that it tells of a tree that is whole.
list=$dir/packages
if [ -e "$list" ] && [ "$(head -n 1 "$list")" = "# $PACKAGES" ]; then
  grep -E "^($(echo "$PACKAGES" | tr ' ' '|'))=" "$list"
  exit 0
fi

apt=$dir/apt
trap 'rm -rf "$apt"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$apt" "$list" "$dir/usr"
mkdir -p "$apt/conf.d" "$apt/cache/archives/partial" "$apt/state/lists/partial" "$apt/tree"
# As if nothing were installed: every library comes along.
: >"$apt/status"
# What the machine says of proxies and credentials holds here too; what it does after an update does not.
cp -L /etc/apt/apt.conf.d/* "$apt/conf.d/" 2>/dev/null || true
cat >"$apt/conf.d/zz-last" <<END
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
END
echo "Dir::Etc::parts \"$apt/conf.d\";" >"$apt/apt.conf"
export DEBIAN_FRONTEND=noninteractive

# Debian's own archive, as the machine is told to reach it.
mirrors=$(
  { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null; echo "$FALLBACK_MIRROR"; } |
    sed 's:/*$::' | grep '/debian$' | awk '!seen[$0]++'
)

fetch() {
  echo "deb [signed-by=$KEYRING] $1 $2 main" >"$apt/sources.list"
  {
    APT_CONFIG=$apt/apt.conf apt-get update -q --error-on=any &&
      # shellcheck disable=SC2086 # a list of names
      APT_CONFIG=$apt/apt.conf apt-get install -q -y --download-only $PACKAGES
  } </dev/null >"$apt/log" 2>&1
}

from=''
for mirror in $mirrors; do
  for suite in $SUITES; do
    if [ -z "$from" ] && fetch "$mirror" "$suite"; then from="$mirror $suite"; fi
  done
done
if [ -z "$from" ]; then
  cat "$apt/log" >&2
  fail "could not get $PACKAGES from any of: $(echo $mirrors), suites $SUITES; the last try is above"
fi

for package in "$apt"/cache/archives/*.deb; do
  dpkg-deb --extract "$package" "$apt/tree" || fail "could not unpack $package: is the disk full?"
  dpkg-deb --show --showformat='${Package}=${Version}\n' "$package" >>"$apt/packages"
done
for program in containerd ctr docker dockerd podman runc skopeo; do
  [ -x "$apt/tree/usr/bin/$program" ] || [ -x "$apt/tree/usr/sbin/$program" ] || fail "$from has no $program any more"
done
rm -rf "$apt/tree/usr/share/doc" "$apt/tree/usr/share/man" "$apt/tree/usr/share/locale"
mv "$apt/tree/usr" "$dir/usr"
{
  echo "# $PACKAGES"
  echo "# $from"
  cat "$apt/packages"
} >"$dir/packages.new"
mv "$dir/packages.new" "$list"
grep -E "^($(echo "$PACKAGES" | tr ' ' '|'))=" "$list"
