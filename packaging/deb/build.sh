#!/usr/bin/env bash
# Makes the Debian package of what make install has put into bin/deb: adds what
# Debian wants of every package, and writes bin/catenet_VERSION_ARCH.deb.
set -euo pipefail

module=$(realpath "$(dirname "$(realpath "$0")")/../..")
go() { command "${GO:-go}" "$@"; }

# v1.2.3 and what git says of a later commit, v1.2.3-4-gabc, as dpkg orders
# them. Without a number it is older than all that have one.
version=${VERSION#v}
version=${version/-/+}
version=${version//[^A-Za-z0-9.+~]/.}
[[ $version == [0-9]*.* ]] || version=0~$version
DEB_VERSION=$version
DEB_ARCH=$(go env GOARCH)
export DEB_VERSION DEB_ARCH

doc=bin/deb/usr/share/doc/catenet
overrides=bin/deb/usr/share/lintian/overrides
mkdir -p "$doc" "$overrides"
gzip -9nr bin/deb/usr/share/man
install -m 0644 "$module/packaging/deb/copyright" "$doc"
install -m 0644 "$module/packaging/deb/lintian" "$overrides/catenet"
gzip -9n <"$module/CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
gzip -9n >"$doc/changelog.gz" <<end
catenet ($version) unstable; urgency=medium

  * What is new is in CHANGELOG.md.gz.

 -- The catenet authors <catenet@noreply.github.com>  $(date -uR)
end
# The licenses of what is linked into the programs.
go list -C "$module" -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
	while read -r path dir; do
		printf '\n==== %s\n\n' "$path"
		find "$dir" -maxdepth 1 -type f \( -iname 'license*' -o -iname 'copying*' -o -iname 'notice*' \) -exec cat {} +
	done | gzip -9n >"$doc/modules.gz"
chmod -R u=rwX,go=rX bin/deb

"$(go tool -C "$module" -modfile=tools/go.mod -n nfpm)" package --config packaging/deb/nfpm.yaml --packager deb --target "bin/catenet_${version}_$DEB_ARCH.deb"
