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

# share BACKEND NETWORK: what flannel's config says, and three nodes that join by it.
share() {
	local config="{\"Network\":\"$2\",\"Backend\":{\"Type\":\"$1\"}}" by="-d flannel -o etcd=$ETCD -o prefix=/demo/$1 -o subnet-file=/run/flannel/$1.env"
	at host1 "catenet network create $by -o write-config='$config' $1"
	ok "the first host has put the config into etcd, and taken a subnet"
	for k in 2 3; do
		at host$k "catenet network create $by $1"
		ok "host $k has taken another"
	done
	meet "$1" "by its own address, with $1"
}

step "The flannel way: an etcd, and hosts that take subnets in it. host-gw: routes"
lab_etcd || die "etcd does not answer"
share host-gw 10.62.0.0/16
at host1 "cat /run/flannel/host-gw.env"
prints "FLANNEL_SUBNET=10.62" "the subnet that this host has, as flanneld writes it"

step "vxlan: a tunnel of the kernel's"
share vxlan 10.63.0.0/16
at host1 "ip -d link show flannel.1"
prints "vxlan id 1" "flanneld's device"

step "udp: packets carried by the daemon, with the same bytes as flanneld's"
share udp 10.64.0.0/16
at host1 "ip -d link show flannel0"
prints "tun" "a TUN device"

step "A daemon is killed, and etcd is, under traffic"
there=$(on 2 catenet inspect --format '{{(index .Endpoints 0).IPv4.Addr}}' box-vxlan)
web=$(on 1 catenet inspect --format '{{.NetnsPath}}' box-vxlan)
on 1 nsenter --net="$web" timeout 30 ping -n -q -i 0.002 -c 2000 -W 1 "$there" >"$LAB_STATE/ping" 2>&1 &
across=$!
background+=("$across")
sleep 0.5
at wire "kill -KILL $(cat "$LAB_RUN/etcd")"
ok "etcd is dead"
at host2 "kill -KILL \$(cat /run/catenetd.pid)"
ok "so is host 2's daemon; 500 packets a second go on to its container"
sleep 0.5
lab_daemon 2 || die "the daemon does not start"
good "it has started again, without etcd"
at host3 "catenet exec box-vxlan -- curl -sS -m 3 http://$there/"
prints "hello from host 2" "its container is reached"
rm -f "$LAB_RUN/etcd"
lab_etcd || die "etcd does not answer"
good "etcd is back"
wait "$across"
at wire "tail -n 2 $LAB_STATE/ping"
prints "2000 received, 0% packet loss" "of 2,000 packets between the hosts none was lost"
in_order() { ! on 2 catenet info 2>&1 | grep -q "network vxlan"; }
until_it "host 2 asks etcd again" in_order || die "it is still in trouble"
at host2 "catenet info"
lacks "network vxlan" "nothing is the matter with the network"

step "What the hosts look like now"
at host1 "catenet topology"
prints "◆ 192.0.2.3" "the picture shows the other hosts"
