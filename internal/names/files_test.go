package names

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	extra, err := ExtraHosts([]catenet.HostEntry{{Name: "db", Addr: "192.0.2.7"}, {Name: "gw", Addr: catenet.HostGateway}},
		addr("172.18.0.1"), netip.Addr{}, addr("fd00::1"))
	if err != nil {
		t.Fatal(err)
	}
	h := HostsFile{
		Names: []string{"0123456789ab", "web", "web", ""},
		Addrs: []netip.Addr{addr("172.18.0.2"), {}, addr("fd00::2")},
		Extra: extra,
	}
	want := notice + `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
192.0.2.7	db
172.18.0.1	gw
fd00::1	gw
172.18.0.2	0123456789ab web
fd00::2	0123456789ab web
`
	if got := string(Hosts(h)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(Hosts(HostsFile{Base: []byte("127.0.0.1 x"), Extra: extra[:1]})); got != "127.0.0.1 x\n192.0.2.7\tdb\n" {
		t.Errorf("on the host's own: %q", got)
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	host := HostConf{Servers: catenetAddrs("192.0.2.53", "2001:db8::53"), Search: []string{"lan"}, Options: []string{"edns0"}}
	for _, tc := range []struct {
		dns     catenet.DNSConfig
		host    HostConf
		outside bool
		want    string
	}{
		{catenet.DNSConfig{}, host, true,
			"# Behind the name server: 192.0.2.53 2001:db8::53\nnameserver 127.0.0.11\nsearch lan\noptions ndots:0\n"},
		{catenet.DNSConfig{Servers: catenetAddrs("198.51.100.1"), Search: []string{"a", "b.c"}, Options: []string{"ndots:2", "use-vc"}}, host, true,
			"# Behind the name server: 198.51.100.1\nnameserver 127.0.0.11\nsearch a b.c\noptions ndots:2 use-vc\n"},
		{catenet.DNSConfig{Search: []string{"."}, Options: []string{"rotate"}}, HostConf{}, true,
			"# Behind the name server: nobody, the host has none either.\nnameserver 127.0.0.11\noptions ndots:0 rotate\n"},
		{catenet.DNSConfig{}, host, false,
			"# Behind the name server: nobody, all networks are internal.\nnameserver 127.0.0.11\nsearch lan\noptions ndots:0\n"},
	} {
		if got := string(ResolvConf(tc.dns, tc.host, tc.outside)); got != notice+tc.want {
			t.Errorf("got\n%s\nwant\n%s", got, notice+tc.want)
		}
	}
	own := []byte("nameserver 192.0.2.53\n# as it is\n")
	if got := HostResolvConf(own, catenet.DNSConfig{}, host); !bytes.Equal(got, own) {
		t.Errorf("the host's own became %q", got)
	}
	got := string(HostResolvConf(own, catenet.DNSConfig{Servers: catenetAddrs("198.51.100.1")}, host))
	if want := notice + "nameserver 198.51.100.1\nsearch lan\noptions edns0\n"; got != want {
		t.Errorf("with another server:\n%s\nwant\n%s", got, want)
	}
}

func TestValidateDNS(t *testing.T) {
	t.Parallel()
	for _, bad := range []catenet.DNSConfig{
		{Servers: []netip.Addr{{}}}, {Servers: catenetAddrs("0.0.0.0")}, {Servers: catenetAddrs("ff02::1")},
		{Search: []string{""}}, {Search: []string{"a..b"}}, {Search: []string{"a\nnameserver 192.0.2.66"}}, {Search: []string{strings.Repeat("x", 64)}},
		{Options: []string{""}}, {Options: []string{"a b"}}, {Options: []string{"a\nb"}}, {Options: []string{"#"}},
	} {
		if err := ValidateDNS(bad); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%v: %v", bad, err)
		}
	}
	good := catenet.DNSConfig{Servers: catenetAddrs("127.0.0.1", "fe80::1%eth0"), Search: []string{".", "example.com."}, Options: []string{"ndots:1"}}
	if err := ValidateDNS(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []catenet.HostEntry{{Name: "", Addr: "192.0.2.1"}, {Name: "a b", Addr: "192.0.2.1"}, {Name: "a\n", Addr: "192.0.2.1"}, {Name: "a", Addr: "x"}, {Name: "a"}} {
		if _, err := ExtraHosts([]catenet.HostEntry{bad}); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestWriteInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	write := func(content string) {
		t.Helper()
		if err := WriteInPlace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("the file holds %q (%v), want %q", got, err, content)
		}
	}
	stat := func() *syscall.Stat_t {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != 0o644 {
			t.Errorf("mode %v", fi.Mode())
		}
		return fi.Sys().(*syscall.Stat_t)
	}
	write("one two\n")
	first := stat()
	write("one two\nthree\n")
	write("one\n")
	write("ONE\n")
	last := stat()
	if first.Ino != last.Ino {
		t.Error("it is another file")
	}
	write("ONE\n")
	if stat().Ctim != last.Ctim {
		t.Error("an equal content was written again")
	}
	write("")
	if err := os.Truncate(path, 1<<40); err != nil { // what a container may do to it
		t.Fatal(err)
	}
	write("small again\n")

	for size, want := range map[int64]string{0: "ab", 2: "ab", 5: "ab\n\n\n", 1 << 40: "ab"} {
		if got := string(padded([]byte("ab"), size)); got != want {
			t.Errorf("over %d bytes %q is written, want %q", size, got, want)
		}
	}
	link := path + "-link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteInPlace(link, nil); !catenet.IsConflict(err) || catenet.HintOf(err) == "" {
		t.Errorf("through a symbolic link: %v", err)
	}
}

// TestWritesFollowNoLinkThatComesMeanwhile: whoever can change the folder puts
// a link to another's file, or to none, in the place of the one looked at.
func TestWritesFollowNoLinkThatComesMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "hosts"), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		defer close(done)
		for !stop.Load() {
			for _, lead := range []string{victim, victim + "-none"} {
				for _, fn := range []func(string) error{
					func(next string) error { return os.Symlink(lead, next) },
					func(next string) error { return os.WriteFile(next, nil, 0o600) },
				} {
					next := filepath.Join(dir, "next")
					if err := errors.Join(fn(next), os.Rename(next, path)); err != nil {
						done <- err
						return
					}
				}
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				done <- err
				return
			}
		}
	}()
	for range 20000 {
		_ = WriteInPlace(path, []byte("ours")) // refused, more often than not
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "theirs" {
		t.Errorf("the file behind the link is %q, %v", b, err)
	}
	if _, err := os.Stat(victim + "-none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made behind a link: %v", err)
	}
}

// TestReadersOfWrites: whoever reads while the content changes never finds
// the file empty or beginning elsewhere.
func TestReadersOfWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	long := bytes.Repeat([]byte("192.0.2.1\tlong\n"), 50)
	short := []byte("192.0.2.2\tshort\n")
	if err := WriteInPlace(path, long); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.HasPrefix(b, []byte("192.0.2.")) {
				t.Errorf("read %q", b)
				return
			}
		}
	}()
	for range 3000 {
		for _, content := range [][]byte{short, long} {
			if err := WriteInPlace(path, content); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop.Store(true)
	<-done
}
