#!/usr/bin/env bash
# Builds flanneld, of the version that our nodes are peers of, for the tests that
# have both in one network. It goes to DEST, and is installed nowhere. Its
# tencent-vpc backend is left out: it is of no use here, and not all of its modules
# are to be had everywhere.
set -euo pipefail

version=v0.28.10
dest=${1:-/var/cache/catenet-flanneld/$version}
[ ! -x "$dest/flanneld" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "flanneld: none in $dest yet; run this as root (sudo make ...)" >&2
	exit 1
fi
mkdir -p "$dest"
exec 9>"$dest/lock"
flock 9
[ ! -x "$dest/flanneld" ] || exit 0

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir" && rm -rf "$dir"' EXIT
echo "flanneld: fetching and compiling $version, some minutes the first time"
cd "$dir"
source=$(go mod download -json "github.com/flannel-io/flannel@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source" src
chmod -R u+w src
cd src
rm -r pkg/backend/tencentvpc
sed -i '/tencentvpc/d' main.go
# The udp backend is in C.
CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dest/new" . >"$dir/log" 2>&1 || {
	tail -20 "$dir/log" >&2
	echo "flanneld: could not build it" >&2
	exit 1
}
mv "$dest/new" "$dest/flanneld"
