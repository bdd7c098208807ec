#!/usr/bin/env bash
# What catenet does, step by step, each step checked. "make demo" runs it.
#
# The daemon runs in a network namespace of the demo's own, with folders of its
# own: the machine's network is not touched. A second namespace is a host
# outside. KEEP=1 leaves everything up; "demo.sh clean" removes it.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/stage.sh"

if [ "${1:-}" = clean ]; then
	clear_stage
	echo "The demo is removed."
	exit 0
fi

[ "$(id -u)" -eq 0 ] || die "this makes network namespaces: run it as root (sudo make demo)"
[ -x "$BIN/catenetd" ] || die "the programs are not built: make build"
trap finish EXIT
trap 'exit 130' INT TERM
set_stage

step "Two networks"
at demo "catenet network create --subnet 172.30.5.0/24 --ipv6 front"
ok "made"
at demo "catenet network create back"
ok "made, with a subnet of the daemon's choice"
at demo "catenet network ls"
prints "front .*bridge" "both are listed"

step "Containers that run real servers"
at demo "catenet run -d --name db --network front -- busybox httpd -f -p 80 -h $WWW/db"
ok "db runs in front"
at demo "catenet run -d --name web --network front -p 8080:80 -- busybox httpd -f -p 80 -h $WWW/web"
ok "web runs in front, its port 80 is the host's port 8080"
at demo "catenet run -d --name stranger --network back -- busybox httpd -f -p 80 -h $WWW/stranger"
ok "stranger runs in back"
at demo "catenet ps"
prints "web .*8080->80/tcp" "all three are listed"

step "Names: web reaches db by name"
at demo "catenet exec web -- curl -sS -m 3 http://db/"
prints "hello from db" "db answered"
at demo "catenet exec web -- curl -sS -m 3 http://db.front/"
prints "hello from db" "by its name and network too"

step "Isolation: a container of the other network reaches neither name nor address"
at demo "catenet exec stranger -- curl -sS -m 2 http://db/"
fails "[Rr]esolv" "db's name is not known in back"
at demo "catenet exec stranger -- curl -sS -m 2 http://$(address db)/"
fails "[Cc]onnect" "and nobody answers at its address"

step "A published port: from another host, and from the host itself"
at outside "curl -sS -m 3 http://$HOST4:8080/"
prints "hello from web" "another host reaches web"
at outside "curl -sS -m 3 http://[$HOST6]:8080/"
prints "hello from web" "by IPv6 too"
at demo "curl -sS -m 3 http://127.0.0.1:8080/"
prints "hello from web" "so does the host, at 127.0.0.1"
at demo "curl -sS -m 3 http://[::1]:8080/"
prints "hello from web" "and at ::1"
at demo "catenet exec stranger -- curl -sS -m 3 http://$HOST4:8080/"
prints "hello from web" "and a container of the other network, by the host's address"
at outside "curl -sS -m 2 http://$(address web)/"
fails "[Cc]onnect" "web's own address stays closed to the outside"

step "The way out: a container reaches the other host, hidden behind this one"
listen_outside
at demo "catenet exec web -- socat -T3 - TCP:$OUT4:7000"
prints "you are $HOST4" "the other host saw the host's address, not the container's"

step "A fixed address"
at demo "catenet run -d --name fixed --network front:ip=172.30.5.77 -- busybox httpd -f -p 80 -h $WWW/db"
ok "runs"
at demo "catenet exec fixed -- ip -br -4 addr show eth0"
prints "172.30.5.77/24" "it has the address that it asked for"

step "container:NAME, host, none"
at demo "catenet run --rm --network container:web -- curl -sS -m 3 http://127.0.0.1/"
prints "hello from web" "container:web shares web's network: its 127.0.0.1 is web's"
at demo "catenet run --rm --network host -- ip -br -4 addr show eth0"
prints "$HOST4" "host is the host's own network"
at demo "catenet run --rm --network none -- ip -br link"
prints "^lo " "none has a loopback"
lacks "eth" "and nothing else"

step "A namespace made by hand, joined with one command"
at demo "ip netns add $HAND"
ok "ip(8) made it"
at demo "catenet attach --name hand --netns /run/netns/$HAND --network front"
ok "joined"
at demo "ip netns exec $HAND curl -sS -m 3 http://db/"
prints "hello from db" "names are served there too"
at demo "catenet exec web -- ping -c1 -W2 hand"
prints " 0% packet loss" "and web reaches it by its name"

step "The daemon is killed with SIGKILL and started again, under traffic"
at demo "catenet run -d --name meter --network front -p 5201:5201 -p 5201:5201/udp -- iperf3 --server"
ok "meter counts what arrives at published port 5201"
start_traffic
sleep 1.5
at demo "kill -KILL $(cat "$PIDFILE")"
ok "killed; 1,000 packets a second go on between containers, to the outside and to the published port"
sleep 1.5
gone "$(cat "$PIDFILE")" "there is no daemon"
start_daemon
echo "  demo# catenetd --run-dir $RUN --state-dir $STATE &"
good "started again"
at demo "catenet exec web -- curl -sS -m 3 http://db/"
prints "hello from db" "names are served again"
count_traffic

step "What it looks like now"
at demo "catenet topology"
prints "web" "the picture shows the containers"

. "$here/hosts.sh"

finished=yes
