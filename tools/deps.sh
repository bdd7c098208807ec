#!/usr/bin/env bash
# Installs the Debian packages that are missing: "base" is what the demo and
# the tests run, "bench" the peers that the benchmark measures against.
# With nothing missing, apt is not called.
set -euo pipefail

base=(nftables iptables iproute2 iputils-ping busybox-static conntrack curl socat procps
	bind9-dnsutils dnsmasq-base tcpdump iperf3 util-linux
	bash-completion zsh fish man-db docker.io podman)
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
# What tests start by hand must not run on this host: dockerd alone would
# change its firewall. policy-rc.d keeps a package from starting its services.
policy=/usr/sbin/policy-rc.d
[ ! -e $policy ] || policy=
[ -z "$policy" ] || install -m 0755 /dev/stdin $policy <<<$'#!/bin/sh\nexit 101'
trap 'rm -f "$log" $policy' EXIT
services=(docker.service docker.socket containerd.service podman.service podman.socket podman-restart.service podman-auto-update.timer)
fetch() {
	apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null >"$log" 2>&1
}
echo "deps: installing with apt, up to a minute: ${missing[*]}"
# The package lists of a fresh machine are empty or old: fetch them only then.
if ! fetch; then
	apt-get update -qq </dev/null >"$log" 2>&1 && fetch || {
		cat "$log" >&2
		echo "deps: could not install ${missing[*]}" >&2
		exit 1
	}
fi
case " ${missing[*]} " in *" docker.io "* | *" podman "*)
	systemctl disable --quiet "${services[@]}" 2>/dev/null || true # nor after the next boot
	;;
esac
