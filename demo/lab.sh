#!/usr/bin/env bash
# Hosts to play with, on one wire: "make lab HOSTS=5" makes them, "make lab-down"
# removes them, and the demo stands on three.
#
#   lab.sh up N         makes hosts 1 to N
#   lab.sh K [COMMAND]  runs it on host K; without one, a shell there
#   lab.sh etcd         starts an etcd on the wire, if there is none
#   lab.sh down         removes all
#
# A host is a network namespace with eth0 at 192.0.2.K, a mount namespace with a
# /run, an /etc and a /var/lib of its own, and a daemon with all its defaults. The
# wire is a bridge in a namespace of its own, at 192.0.2.254, where etcd runs. The
# machine's network is not touched.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BIN=$(realpath -m "${CATENET_BIN:-$here/../bin}")
LAB=${LAB:-catenet-lab}
LAB_RUN=/run/$LAB
LAB_STATE=/var/lib/$LAB
WIRE=$LAB-wire
ETCD=http://192.0.2.254:2379

lab_fail() {
	echo "lab: $1" >&2
	return 1
}

# on K COMMAND…: runs it on host K.
on() {
	local k=$1 hold
	shift
	hold=$(cat "$LAB_RUN/$k/hold" 2>/dev/null) || {
		lab_fail "there is no host $k: make lab HOSTS=$k"
		return
	}
	PATH="$BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		nsenter --net="/run/netns/$LAB-$k" --mount="/proc/$hold/ns/mnt" --wd=/ -- env -u CATENET_HOST "$@"
}

# ours PID PROGRAM: whether that process is it, be it of an earlier build. Numbers are
# used again.
ours() {
	local exe
	exe=$(readlink "/proc/$1/exe") && [ "${exe% (deleted)}" = "$(readlink -f "$2")" ]
}

# end FILE PROGRAM [SIGNAL]: ends the process whose ID is in a file, and waits.
end() {
	local pid
	pid=$(cat "$1" 2>/dev/null) || return 0
	rm -f "$1"
	ours "$pid" "$2" || return 0
	kill "-${3:-TERM}" "$pid"
	for _ in $(seq 200); do
		[ -e "/proc/$pid" ] || return 0
		sleep 0.05
	done
	lab_fail "process $pid does not end"
}

# until_it WHAT COMMAND…: waits until it succeeds.
until_it() {
	local what=$1
	shift
	for _ in $(seq 400); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	lab_fail "not within 20 seconds: $what"
}

lab_host() {
	local k=$1 ns=$LAB-$1 run=$LAB_RUN/$1 state=$LAB_STATE/$1
	mkdir -p "$run/run/netns" "$state"/{etc,var}/{new,work}
	ip netns add "$ns" &&
		ip -n "$ns" link set lo up &&
		ip -n "$ns" link add eth0 type veth peer name "eth$k" netns "$WIRE" &&
		ip -n "$ns" addr add "192.0.2.$k/24" dev eth0 &&
		ip -n "$ns" addr add "2001:db8::$k/64" dev eth0 nodad &&
		ip -n "$ns" link set eth0 up &&
		ip -n "$ns" route add default via 192.0.2.254 &&
		ip -n "$WIRE" link set "eth$k" master wire up || return
	nsenter --net="/run/netns/$ns" -- unshare --mount --propagation private bash -c '
		mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc/new,workdir=$1/etc/work" /etc &&
		mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$1/var/new,workdir=$1/var/work" /var/lib &&
		mount --bind "$0/run" /run && touch /run/ready && exec sleep infinity' "$run" "$state" >"$state/hold.log" 2>&1 </dev/null &
	echo $! >"$run/hold"
	disown
	until_it "host $k has folders of its own" test -e "$run/run/ready" || {
		cat "$state/hold.log" >&2
		return 1
	}
	lab_daemon "$k"
}

# lab_daemon K: starts the daemon of host K, in a session of its own, where Ctrl-C does
# not reach it.
lab_daemon() {
	on "$1" setsid sh -c 'echo $$ >/run/catenetd.pid; exec catenetd' >>"$LAB_STATE/$1/catenetd.log" 2>&1 </dev/null &
	disown
	until_it "the daemon of host $1 answers" on "$1" catenet version || {
		tail -n 20 "$LAB_STATE/$1/catenetd.log" >&2
		return 1
	}
}

lab_up() {
	[ "$(id -u)" -eq 0 ] || lab_fail "this makes network namespaces: run it as root" || return
	[ -x "$BIN/catenetd" ] || lab_fail "the programs are not built: make build" || return
	[[ $1 =~ ^[1-9][0-9]?$ ]] || lab_fail "HOSTS=$1: from 1 to 99" || return
	[ ! -e "$LAB_RUN" ] || lab_fail "there is a lab already: make lab-down removes it" || return
	mkdir -p "$LAB_RUN" "$LAB_STATE"
	ip netns add "$WIRE" && ip -n "$WIRE" link set lo up && ip -n "$WIRE" link add wire type bridge &&
		ip -n "$WIRE" addr add 192.0.2.254/24 dev wire && ip -n "$WIRE" link set wire up || return
	local k
	for k in $(seq "$1"); do
		lab_host "$k" || return
		echo "  host $k: 192.0.2.$k, 2001:db8::$k"
	done
}

# lab_etcd starts an etcd on the wire; its data stay over its end.
lab_etcd() {
	[ -e "$LAB_RUN" ] || lab_fail "there is no lab: make lab HOSTS=3" || return
	! ours "$(cat "$LAB_RUN/etcd" 2>/dev/null)" "$(command -v etcd)" || return 0
	setsid nsenter --net="/run/netns/$WIRE" -- etcd --data-dir "$LAB_STATE/etcd" --listen-client-urls "$ETCD,http://127.0.0.1:2379" \
		--advertise-client-urls "$ETCD" --listen-peer-urls http://127.0.0.1:2380 >>"$LAB_STATE/etcd.log" 2>&1 </dev/null &
	echo $! >"$LAB_RUN/etcd"
	disown
	until_it "etcd answers" nsenter --net="/run/netns/$WIRE" -- curl -sf "$ETCD/health" || {
		tail -n 20 "$LAB_STATE/etcd.log" >&2
		return 1
	}
}

# lab_host_down K: whatever a host has goes, in order.
lab_host_down() {
	local k=$1 dir=$LAB_RUN/$1 said
	on "$k" sh -c 'catenet ps -aq | xargs -r catenet rm -f' >/dev/null 2>&1
	end "$dir/run/catenetd.pid" "$BIN/catenetd"
	said=$(on "$k" catenetd --purge 2>&1) || printf 'lab: host %s is not left clean\n%s\n' "$k" "$said" >&2
	end "$dir/hold" "$(command -v sleep)" KILL
}

lab_down() {
	local dir k going=()
	for dir in "$LAB_RUN"/*/; do
		[ -e "$dir/hold" ] || continue
		lab_host_down "$(basename "$dir")" &
		going+=($!)
	done
	[ ${#going[@]} -eq 0 ] || wait "${going[@]}"
	end "$LAB_RUN/etcd" "$(command -v etcd)" KILL # the last: hosts give back what they have in it
	for k in $(ip netns list | awk -v lab="^$LAB-" '$1 ~ lab {print $1}'); do
		ip netns del "$k"
	done
	rm -rf "$LAB_RUN" "$LAB_STATE"
}

# Sourced, it only brings the words above.
[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

case "${1:-}" in
up)
	lab_up "${2:-3}" || {
		lab_down
		exit 1
	}
	cat <<-END

		Each host runs a daemon. On host 1, as root:
		  $0 1 catenet info
		  $0 1                 a shell there
		  $0 etcd              an etcd for all, at $ETCD
		To remove them: sudo make lab-down
	END
	;;
down) lab_down ;;
etcd) lab_etcd ;;
[1-9]*)
	k=$1
	shift
	[ $# -gt 0 ] || set -- env PS1="host $k# " bash --norc
	on "$k" "$@"
	;;
*)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit 2
	;;
esac
