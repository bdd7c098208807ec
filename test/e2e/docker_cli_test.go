package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// dockers are the docker programs of this machine, each once, by version.
func dockers(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "docker"))
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "--version").Output()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_, version, _ := strings.Cut(string(out), "version ")
		version, _, _ = strings.Cut(version, ",")
		found[version] = path
	}
	if len(found) == 0 {
		t.Fatal("there is no docker in PATH: run make deps")
	}
	return found
}

// docker runs one of them against the daemon of h; line is as a shell takes it.
func docker(h *lab.Host, path, line string) lab.Result {
	return h.Feed("y\n", "env", "DOCKER_HOST=unix://"+h.Socket(), "DOCKER_CONFIG="+h.Dir, "sh", "-c", `exec "$0" `+line, path)
}

// memory is how much this host has, in bytes, in decimal.
func memory(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(regexp.MustCompile(`(?m)^MemTotal: *([0-9]+) kB$`).FindStringSubmatch(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(kib * 1024)
}

// id is what a whole ID looks like.
const id = `[0-9a-f]{64}`

// TestDockerCLI: the docker CLI as people have it does every docker network
// subcommand, and is told what is wrong in Docker's words. Each step is a
// command line, its exit code, and what standard output or, where it fails,
// standard error has to match.
func TestDockerCLI(t *testing.T) {
	steps := []struct {
		line string
		code int
		want string
	}{
		{"version --format '{{.Server.APIVersion}}/{{.Server.Platform.Name}}'", 0, `^1\.56/catenet`},
		{"info --format '{{.ServerVersion}}/{{.Containers}}/{{.Images}}/{{.OperatingSystem}}'", 0, `^\S+/2/0/catenet .*networks`},
		{"info --format '{{.MemTotal}}'", 0, `^` + memory(t) + `\n$`},
		{"network ls", 0, `^NETWORK ID +NAME +DRIVER +SCOPE\n[0-9a-f]{12} +bridge +bridge +local\n[0-9a-f]{12} +host +host +local\n[0-9a-f]{12} +none +null +local\n$`},

		{"network create --subnet 10.3.0.0/16 --ip-range 10.3.1.0/24 --gateway 10.3.0.9 --aux-address r=10.3.0.8 --label a=1 --attachable -o com.docker.network.bridge.name=brdock front", 0, `^` + id + `\n$`},
		{"network create --internal --ipv6 --subnet 10.5.0.0/24 --subnet fd05::/64 -o com.docker.network.bridge.enable_icc=false back", 0, `^` + id + `\n$`},
		{"network create --ipv6 six", 0, `^` + id + `\n$`},
		{"network create front", 1, `^Error response from daemon: network with name front already exists\n$`},
		{"network create bridge", 1, `^Error response from daemon: operation is not permitted on predefined bridge network ?\n$`},
		{"network create --subnet 10.3.7.0/24 other", 1, `Pool overlaps with other one on this address space: .*"front"`},
		{"network create --subnet 10.9.0.1/24 other", 1, `10\.9\.0\.1/24 .*it should be 10\.9\.0\.0/24`},
		{"network create --subnet 10.9.0.0/24 --ip-range 10.9.0.0/33 other", 1, `10\.9\.0\.0/33`},
		{"network create -d overlay other", 1, `there is no driver "overlay" \(drivers: bridge`},
		{"network create -o colour=red other", 1, `no option "colour"`},
		{"network create --ipam-driver dhcp other", 1, `no IPAM driver "dhcp"`},
		{"network create --ipam-opt a=b other", 1, `IPAM driver has no options`},
		{"network create --ingress other", 1, `Ingress network can only be global scope network`},
		{"network create --scope swarm other", 1, `cannot create a swarm scoped network when swarm is not active`},
		{"network create --scope local scoped", 0, `^` + id + `\n$`},

		{"network create --config-only --subnet 10.4.0.0/24 --gateway 10.4.0.7 --label x=y settings", 0, `^` + id + `\n$`},
		{"network create --config-from settings made", 0, `^` + id + `\n$`},
		{"network create --config-from settings --label z=1 other", 1, `config-only network settings`},
		{"network create --config-from nowhere other", 1, `configuration network "nowhere" does not exist`},
		{"network inspect -f '{{.Driver}}/{{.ConfigOnly}}/{{.ConfigFrom.Network}}/{{.Labels.x}}/{{(index .IPAM.Config 0).Gateway}}' settings made", 0, `^null/true//y/10\.4\.0\.7\nbridge/false/settings/y/10\.4\.0\.7\n$`},
		{"network connect settings web", 1, `cannot create endpoint on configuration-only network`},
		{"network rm settings", 1, `error while removing network: configuration network "settings" is in use`},

		{"network ls -q --no-trunc -f 'name=^front$'", 0, `^` + id + `\n$`},
		{"network ls --format '{{.Name}}:{{.Driver}}:{{.Scope}}:{{.IPv6}}:{{.Internal}}:{{.Labels}}' -f label=a=1 -f driver=bridge -f scope=local", 0, `^front:bridge:local:false:false:a=1\n$`},
		{"network ls --format '{{.Name}}' -f type=custom -f dangling=true", 0, `^back\nfront\nmade\nscoped\nsettings\nsix\n$`},
		{"network ls --format '{{.Name}}' -f type=builtin", 0, `^bridge\nhost\nnone\n$`},
		{"network ls -f colour=red", 1, `invalid filter 'colour'`},
		{"network ls -f dangling=perhaps", 1, `dangling`},
		{"network inspect front", 0, `(?s)"Name": "front",\s+"Id": "` + id + `",.*"Scope": "local",\s+"Driver": "bridge",.*"Subnet": "10\.3\.0\.0/16",\s+"IPRange": "10\.3\.1\.0/24",\s+"Gateway": "10\.3\.0\.9",\s+"AuxiliaryAddresses": {\s+"r": "10\.3\.0\.8".*"Attachable": true,.*"com\.docker\.network\.bridge\.name": "brdock".*"a": "1"`},
		{"network inspect nowhere front", 1, `(?i)nowhere`},

		{"network connect --ip 10.3.0.77 --alias visitor front web", 0, `^$`},
		{"network connect --ip 10.5.0.5 --ip6 fd05::5 --driver-opt com.docker.network.endpoint.ifname=lan7 back web", 0, `^$`},
		{"network inspect -f '{{range .Containers}}{{.Name}}={{.IPv4Address}}={{.IPv6Address}}{{end}}' front back", 0, `^web=10\.3\.0\.77/16=(invalid Prefix)?\nweb=10\.5\.0\.5/24=fd05::5/64\n$`},
		{"network connect front web", 1, `endpoint with name web already exists in network front`},
		{"network connect --ip 10.3.0.77 front db", 1, `Address already in use: .*container web`},
		{"network connect --ip 10.99.0.77 front db", 1, `no configured subnet contains IP address 10\.99\.0\.77`},
		{"network connect --link-local-ip 169.254.3.3 front db", 1, `LinkLocalIPs`},
		{"network connect --driver-opt colour=red front db", 1, `no option "colour"`},
		{"network connect --link web:w front db", 0, `^$`},
		{"network connect nowhere db", 1, `network nowhere not found`},
		{"network connect front nobody", 1, `No such container: nobody`},
		{"network connect host db", 1, `cannot connect container to host network - container must be created in host network mode`},
		{"network rm front", 1, `error while removing network: network front has active endpoints \(name:"web" id:"[0-9a-f]{12}", name:"db" id:"[0-9a-f]{12}"\)`},
		{"network rm bridge", 1, `bridge is a pre-defined network and cannot be removed`},
		{"network rm nowhere", 1, `(?i)nowhere`},

		{"network disconnect front nobody", 1, `No such container: nobody`},
		{"network disconnect -f front nobody", 0, `^$`},
		{"network disconnect made web", 1, `container ` + id + ` is not connected to network made`},
		{"network disconnect front db", 0, `^$`},
		{"network disconnect -f back web", 0, `^$`},
		{"network rm back scoped", 0, `^back\nscoped\n$`},
		{"network prune --filter label=nobody", 0, `^WARNING! This will remove all custom networks not used by at least one container.\n`},
		{"network prune -f --filter until=1h", 0, `^$`},
		{"network prune -f --filter 'label!=x'", 0, `^Deleted Networks:\nsix\n\n$`},
		{"network prune -f", 0, `^Deleted Networks:\nmade\n\n$`},
		{"network prune -f --filter name=x", 1, `invalid filter 'name'`},
		{"network rm settings", 0, `^settings\n$`},
		{"network disconnect front web", 0, `^$`},
		{"network rm front", 0, `^front\n$`},

		{"events --since 10m --until 0s --filter type=network --filter event=connect --filter network=front --format '{{.Action}}:{{.Actor.Attributes.name}}:{{.Actor.Attributes.type}}:{{.Actor.Attributes.container}}'", 0, `^connect:front:bridge:` + id + `\nconnect:front:bridge:` + id + `\n$`},
		{"events --since 10m --until 0s --filter container=web --filter event=start", 0, `^\S+ container start ` + id + ` \(name=web, `},
		{"ps", 1, `this is catenet, which serves Docker's API for networks: it has no /containers \(catenet run, ps,`},
		{"run alpine", 125, `this is catenet`},
		{"images", 1, `it has no /images`},
	}
	for version, path := range dockers(t) {
		t.Run(version, func(t *testing.T) {
			g := newGround(t)
			g.idle("web")
			g.idle("db")
			for _, step := range steps {
				r := docker(g.a, path, step.line)
				said := r.Stdout
				if step.code != 0 {
					said = r.Stderr
				}
				if r.Code != step.code || !regexp.MustCompile(step.want).MatchString(said) {
					t.Errorf("docker %s: exit %d\n%s\nwant %d and %s", step.line, r.Code, r.Text(), step.code, step.want)
				}
			}
		})
	}
}
