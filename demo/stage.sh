# The stage of the demo: its namespaces and folders, the daemon, the traffic,
# and how steps are shown and checked. Sourced by demo.sh.

BIN=$(realpath -m "${CATENET_BIN:-$here/../bin}")
RUN=/run/catenet-demo
STATE=/var/lib/catenet-demo
WWW=$STATE/www
PIDFILE=$RUN/catenetd.pid
LOG=$STATE/catenetd.log
HOST=catenet-demo HAND=catenet-demo-hand OUTSIDE=catenet-demo-outside
HOST4=192.0.2.1 OUT4=192.0.2.2 HOST6=2001:db8:1::1 OUT6=2001:db8:1::2
SECONDS_OF_TRAFFIC=6

export PATH="$BIN:$PATH:/usr/sbin:/sbin" CATENET_HOST="unix://$RUN/catenet.sock"

LAB=catenet-demo-lab
. "$here/lab.sh"

finished=no number=0 background=()
bold='' dim='' green='' red='' plain=''
if [ -t 1 ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# --- showing and checking ---------------------------------------------------

step() {
	number=$((number + 1))
	printf '\n%s%d. %s%s\n' "$bold" "$number" "$1" "$plain"
}

# at PLACE COMMAND: shows the command as one would type it there, runs it, and
# shows what it prints. The checks below look at the last one.
at() {
	printf '  %s# %s\n' "$1" "$2"
	local in=(nsenter --net="/run/netns/$HOST" --)
	case $1 in
	outside) in=(nsenter --net="/run/netns/$OUTSIDE" --) ;;
	wire) in=(nsenter --net="/run/netns/$WIRE" --) ;;
	host*) in=(on "${1#host}") ;;
	esac
	said=$("${in[@]}" timeout 30 bash -c "$2" 2>&1 </dev/null)
	status=$?
	[ -z "$said" ] || printf '%s\n' "$said" | sed "s/^/    $dim/; s/\$/$plain/"
}

good() { printf '  %s✓ %s%s\n' "$green" "$1" "$plain"; }

# die WHY: ends the demo; what is up is taken down by finish.
die() {
	printf '  %s✗ %s%s\n' "$red" "$1" "$plain" >&2
	exit 1
}

ok() { [ "$status" -eq 0 ] && good "$1" || die "exit code $status; expected: $1"; }

# fails PATTERN WHAT: it failed for that reason, not for another.
fails() {
	[ "$status" -ne 0 ] || die "it worked; expected: $2"
	grep -Eq -- "$1" <<<"$said" && good "$2" || die "it failed, but no line matches '$1'; expected: $2"
}

# prints PATTERN WHAT: it succeeded, and a line matches.
prints() {
	[ "$status" -eq 0 ] || die "exit code $status; expected: $2"
	grep -Eq -- "$1" <<<"$said" && good "$2" || die "no line matches '$1'; expected: $2"
}
lacks() { grep -Eq -- "$1" <<<"$said" && die "a line matches '$1'; expected: $2" || good "$2"; }
gone() { [ ! -e "/proc/$1" ] && good "$2" || die "process $1 is still there; expected: $2"; }

# address NAME: the container's first IPv4 address.
address() {
	catenet inspect --format '{{(index .Endpoints 0).IPv4.Addr}}' "$1" || die "$1 has no address"
}

# --- the stage --------------------------------------------------------------

set_stage() {
	if [ -e "$RUN" ] || [ -e "/run/netns/$HOST" ] || [ -e "$LAB_RUN" ]; then
		echo "An earlier demo is still up; removing it."
		clear_stage
	fi
	mkdir -p "$RUN" "$WWW"/{web,db,stranger}
	for name in web db stranger; do
		echo "hello from $name" >"$WWW/$name/index.html"
	done
	ip netns add "$HOST" && ip netns add "$OUTSIDE" || die "cannot make network namespaces"
	ip -n "$HOST" link set lo up
	ip -n "$OUTSIDE" link set lo up
	ip -n "$HOST" link add eth0 type veth peer name eth0 netns "$OUTSIDE"
	local ends=("$HOST $HOST4 $HOST6" "$OUTSIDE $OUT4 $OUT6") end
	for end in "${ends[@]}"; do
		set -- $end
		ip -n "$1" addr add "$2/24" dev eth0
		ip -n "$1" addr add "$3/64" dev eth0 nodad
		ip -n "$1" link set eth0 up
	done
	# The other host knows a way to the containers, as a neighbour on the
	# LAN could make itself one: what stays closed is closed by us.
	ip -n "$OUTSIDE" route add 172.16.0.0/12 via "$HOST4"
	ip -n "$HOST" route add default via "$OUT4"
	start_daemon
	echo "A daemon runs in network namespace $HOST ($HOST4, $HOST6); $OUTSIDE is another host ($OUT4)."
}

# start_daemon: in a session of its own, where Ctrl-C does not reach it.
start_daemon() {
	setsid nsenter --net="/run/netns/$HOST" -- catenetd --run-dir "$RUN" --state-dir "$STATE" >>"$LOG" 2>&1 </dev/null &
	local pid=$!
	disown
	echo "$pid" >"$PIDFILE"
	for _ in $(seq 200); do
		catenet version >/dev/null 2>&1 && return
		[ -e "/proc/$pid" ] || die "catenetd ended at its start"
		sleep 0.05
	done
	die "catenetd does not answer after 10 seconds"
}

# clear_stage removes all that a demo makes, also one that another run left.
clear_stage() {
	local ns
	# Now, and not when they have been asked to end for ten seconds.
	catenet ps -aq 2>/dev/null | xargs -r catenet rm -f >/dev/null 2>&1
	end "$PIDFILE" "$BIN/catenetd"
	if [ -e "$RUN" ]; then
		local in=(nsenter --net="/run/netns/$HOST" --)
		[ -e "/run/netns/$HOST" ] || in=(unshare --net --) # what lives on is in no namespace with a name
		said=$("${in[@]}" catenetd --run-dir "$RUN" --state-dir "$STATE" --purge 2>&1) || printf '%s\n' "$said" >&2
	fi
	for ns in "$HAND" "$OUTSIDE" "$HOST"; do
		[ ! -e "/run/netns/$ns" ] || ip netns del "$ns"
	done
	rm -rf "$RUN" "$STATE" "/etc/netns/$HAND"
	[ ! -e "$LAB_RUN" ] || lab_down
}

# finish runs however the demo ends.
finish() {
	local code=$?
	[ "$BASHPID" = "$$" ] || exit "$code" # a part of the shell that a signal has hit
	trap - EXIT
	trap '' INT TERM # whoever is impatient waits for the clearing up
	for pid in "${background[@]}"; do
		kill "$pid" 2>/dev/null
	done
	if [ "$finished" != yes ] && [ "$code" -ne 130 ]; then
		local log
		for log in "$LOG" "$LAB_STATE"/[1-9]*/catenetd.log; do
			[ ! -s "$log" ] || printf 'The end of %s:\n%s\n' "$log" "$(grep -v msg=connection "$log" | tail -n 12)" >&2
		done
	fi
	[ "$finished" = yes ] && printf '\nAll %d steps hold.\n' "$number"
	if [ "${KEEP:-}" = 1 ]; then
		cat <<-END

			Everything stays up. To play with it, as root:
			  export CATENET_HOST=$CATENET_HOST PATH=$BIN:\$PATH
			  catenet ps; catenet network inspect front; catenet exec web -- ip addr
			  ip netns exec $OUTSIDE curl -s http://$HOST4:8080/
			  LAB=$LAB $here/lab.sh 1 catenet topology    on host 1 of the three
			The daemon's log is $LOG. To remove it all:
			  sudo make demo-clean
		END
	else
		printf '\nRemoving everything, in some seconds.\n'
		clear_stage
		echo "Everything is removed; \"make demo KEEP=1\" leaves it up to look at."
	fi
	[ "$finished" = yes ] || code=$((code ? code : 1))
	exit "$code"
}

# --- traffic ----------------------------------------------------------------

listen_outside() {
	nsenter --net="/run/netns/$OUTSIDE" -- timeout 60 socat TCP-LISTEN:7000,reuseaddr,fork SYSTEM:'echo you are $SOCAT_PEERADDR' &
	background+=($!)
	for _ in $(seq 100); do
		nsenter --net="/run/netns/$OUTSIDE" -- ss -Hltn | grep -q ':7000 ' && return
		sleep 0.02
	done
	die "the other host's server does not listen"
}

# start_traffic: three streams of 1,000 small packets a second, bounded in time.
# They enter web's namespace by its path, not by exec, which needs the daemon.
# Their programs go before all others where the host allows it: on a busy
# machine a receiver that waits for its turn drops what the network brought.
start_traffic() {
	local web meter count=$((SECONDS_OF_TRAFFIC * 1000)) first=()
	web=$(catenet inspect --format '{{.NetnsPath}}' web) || die "web has no namespace"
	meter=$(catenet inspect --format '{{.InitPID}}' meter) || die "meter has no process"
	! chrt --fifo --pid 1 "$meter" 2>/dev/null || first=(chrt --fifo 1)
	local ping=(timeout 30 "${first[@]}" ping -n -q -i 0.001 -c "$count" -W 1)
	nsenter --net="$web" -- "${ping[@]}" "$(address db)" >"$STATE/ping-db" 2>&1 &
	streams=($!)
	nsenter --net="$web" -- "${ping[@]}" "$OUT4" >"$STATE/ping-out" 2>&1 &
	streams+=($!)
	nsenter --net="/run/netns/$OUTSIDE" -- timeout 30 "${first[@]}" iperf3 --client "$HOST4" --udp --bitrate 512K --length 64 \
		--time "$SECONDS_OF_TRAFFIC" >"$STATE/udp" 2>&1 &
	streams+=($!)
	background+=("${streams[@]}")
}

# count_traffic waits for the streams and wants every packet counted.
count_traffic() {
	wait "${streams[@]}"
	local line
	for line in "ping-db:between web and db" "ping-out:from web to the other host"; do
		said=$(grep 'packets transmitted' "$STATE/${line%%:*}") || die "no count of the packets ${line#*:}"
		status=0
		prints ' 0% packet loss' "${line#*:}: $(cut -d, -f1-3 <<<"$said")"
	done
	said=$(grep 'receiver' "$STATE/udp") || die "no count of the packets to the published port: $(tail -n 1 "$STATE/udp")"
	prints ' 0/[0-9]+ \(0%\)' "from the other host to the published port (UDP), lost of all: $(grep -Eo '[0-9]+/[0-9]+ \([0-9.e+-]+%\)' <<<"$said")"
}
