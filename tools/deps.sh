#!/usr/bin/env bash
# Installs the Debian packages that are missing: "base" is what the demo and
# the tests run, "bench" the peers that the benchmark measures against.
# With nothing missing, apt is not called.
set -euo pipefail

base=(nftables iptables iproute2 iputils-ping busybox-static conntrack curl socat procps
	bind9-dnsutils dnsmasq-base tcpdump iperf3 util-linux)
bench=(containernetworking-plugins netavark aardvark-dns dnsperf)

want=()
for set in "$@"; do
	case $set in
	base) want+=("${base[@]}") ;;
	bench) want+=("${bench[@]}") ;;
	*) echo "usage: deps.sh base|bench ..." >&2 && exit 2 ;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "deps: this is no Debian; have these at hand: ${want[*]}" >&2
	exit 0
fi

missing=()
for pkg in "${want[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$pkg" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$pkg")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "deps: not installed: ${missing[*]}; run this as root (sudo make ...)" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null >"$log" 2>&1
}
echo "deps: installing with apt, up to a minute: ${missing[*]}"
# The package lists of a fresh machine are empty or old: fetch them only then.
if ! install; then
	apt-get update -qq </dev/null >"$log" 2>&1 && install || {
		cat "$log" >&2
		echo "deps: could not install ${missing[*]}" >&2
		exit 1
	}
fi
