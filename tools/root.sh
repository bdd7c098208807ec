#!/usr/bin/env bash
# Unpacks a small Debian of its own for the test that installs the package:
# test/e2e boots it in namespaces, on top of DEST, which it leaves as it is.
set -euo pipefail

dest=${1:-/var/cache/catenet-root}
[ ! -e "$dest" ] || exit 0
if ! command -v debootstrap >/dev/null; then
	echo "root: no debootstrap here; put the root of a Debian with systemd into $dest" >&2
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "root: none in $dest yet; run this as root (sudo make ...)" >&2
	exit 1
fi

new=$(mktemp -d "$dest.XXXXXX")
trap 'rm -rf "$new"' EXIT
chmod 0755 "$new"
mirror=$(sed -n 's/^URIs: *//p; s/^deb \([^[][^ ]*\) .*/\1/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1 || true)
echo "root: making a small Debian, 90 MB to fetch, up to two minutes"
debootstrap --variant=minbase --include=systemd-sysv,dbus,iproute2,iputils-ping bookworm "$new" \
	"${mirror:-http://deb.debian.org/debian}" </dev/null >"$new.log" 2>&1 || {
	tail -20 "$new.log" >&2
	rm -f "$new.log"
	echo "root: debootstrap failed" >&2
	exit 1
}
rm -rf "$new.log" "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*
mv "$new" "$dest"
