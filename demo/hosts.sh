# Across hosts: the second half of the demo, on three hosts of a lab. Sourced by
# demo.sh.

# meet NETWORK WHAT: on each of the hosts a container of the network reaches those
# on the others.
meet() {
	local k to
	for k in 1 2 3; do
		at host$k "catenet run -d --name box-$1 --network $1 -- busybox httpd -f -p 80 -h /run/www"
		ok "box-$1 runs on host $k"
	done
	for k in 1 2 3; do
		for to in 1 2 3; do
			[ "$k" != "$to" ] || continue
			at host$k "catenet exec box-$1 -- curl -sS -m 3 http://$(on "$to" catenet inspect --format '{{(index .Endpoints 0).IPv4.Addr}}' "box-$1")/"
			prints "hello from host $to" "$2"
		done
	done
}

step "Three hosts on one wire"
lab_up 3 || die "the hosts are not up"
for k in 1 2 3; do
	on "$k" sh -c "mkdir /run/www && echo hello from host $k >/run/www/index.html"
done
at host1 "ping -c1 -W2 192.0.2.3"
prints " 0% packet loss" "they reach each other"

step "Direct routing: each host is told of the others by one command"
for k in 1 2 3; do
	peers=
	for to in 1 2 3; do
		[ "$k" = "$to" ] || peers+="${peers:+,}10.61.$to.0/24=192.0.2.$to"
	done
	at host$k "catenet network create -d routed --subnet 10.61.$k.0/24 -o peers=$peers routed"
	ok "made"
done
meet routed "by its own address, without a tunnel"
at host1 "ip route show proto 159"
prints "10.61.3.0/24 via 192.0.2.3" "a route for each of the others"
at host1 "catenet topology"
prints "◆ 192.0.2.3" "the picture shows the other hosts"
