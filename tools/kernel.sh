#!/usr/bin/env bash
# Fetches Debian's own kernel (6.1, with its modules) for the tests that need
# another one than this machine runs: test/vm boots it. The package is unpacked
# into DEST and not installed: what this machine boots is left alone.
set -euo pipefail

dest=${1:-/var/cache/catenet-kernel}
[ ! -e "$dest/vmlinux" ] || exit 0
if ! command -v apt-get >/dev/null; then
	echo "kernel: this is no Debian; put its kernel into $dest: vmlinux, and lib/modules with modules.dep" >&2
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "kernel: none in $dest yet; run this as root (sudo make ...)" >&2
	exit 1
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fetch() (
	cd "$dir"
	package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/ Depends: linux-image-/ { print $2; exit }')
	[ -n "$package" ] && apt-get download -qq "$package" >log 2>&1
)
echo "kernel: fetching Debian's, 70 MB, for the tests that boot it"
if ! fetch; then
	apt-get update -qq </dev/null >"$dir/log" 2>&1 && fetch || {
		cat "$dir/log" >&2
		echo "kernel: could not fetch linux-image-amd64" >&2
		exit 1
	}
fi

# What no virtual machine has would be three quarters of it.
new=$dir/new
mkdir "$new"
dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -x -C "$new" --wildcards \
	--exclude='*/net/ethernet/*' --exclude='*/net/wireless/*' --exclude='*/net/usb/*' \
	'./boot/vmlinuz-*' './lib/modules/*/modules.*' './lib/modules/*/kernel/'{arch,crypto,fs,lib,net}'/*' \
	'./lib/modules/*/kernel/drivers/'{net,virtio,char/hw_random}'/*'
depmod -b "$new" "$(ls "$new/lib/modules")"
# Unpacked here, once, and not by every machine for itself: half of its start.
packed=$(echo "$new"/boot/vmlinuz-*)
at=$(LC_ALL=C grep -obUaP '\xfd7zXZ\x00' "$packed" | awk -F: 'NR == 1 { print $1 }')
xz -dc --single-stream < <(tail -c +$((at + 1)) "$packed") >"$dir/vmlinux"
rm -rf "$new/boot" "$dest"
mkdir -p "$(dirname "$dest")"
# vmlinux last: it says that all is there.
cp -r "$new" "$dest.part" && mv "$dest.part" "$dest" && mv "$dir/vmlinux" "$dest/vmlinux"
