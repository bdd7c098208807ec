#!/usr/bin/env bash
# Installs the Debian packages that are missing: "base" is what the demo and
# the tests run, "bench" the peers that the benchmark measures against.
# With nothing missing, apt is not called.
set -euo pipefail

base=(nftables iptables iproute2 iputils-ping busybox-static conntrack curl socat procps
	bind9-dnsutils dnsmasq-base tcpdump iperf3 util-linux
	bash-completion zsh fish man-db containerd crun docker.io podman netavark containernetworking-plugins uidmap slirp4netns catatonit etcd-server etcd-client gcc libc6-dev
	ufw firewalld dbus-daemon qemu-system-x86 kmod xz-utils e2fsprogs debootstrap lintian)
bench=(dnsperf)

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
	case $pkg in containerd | docker.io) # Docker's own packages are as good, and clash with these
		! command -v dockerd >/dev/null || continue ;;
	esac
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
fetch() {
	apt-get install -qq -y --no-install-recommends --no-remove -o Dpkg::Use-Pty=0 \
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
# Nor do they start with the next boot.
dpkg -L "${missing[@]}" | grep -oE '^(/usr)?/lib/systemd/system/[^/]+\.(service|socket|timer)$' |
	xargs -r -n1 basename | xargs -r systemctl disable --quiet 2>/dev/null || true
