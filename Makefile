# catenet: build, install, prove, show. Everything runs as root where it makes
# network namespaces (demo, test, bench); nothing needs a terminal.

# sudo's PATH often lacks Go and sbin.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
export HOME ?= /root
# No C compiler is asked for; a clone that belongs to somebody else than root
# must build under sudo (go would refuse to stamp it).
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false
export DEBIAN_FRONTEND := noninteractive

GO      := go
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  := $(PREFIX)/bin
UNITDIR ?= /etc/systemd/system
UNITS   := catenet.service catenet-flanneld.service
SHAREDIR := $(PREFIX)/share
MANDIR  := $(SHAREDIR)/man
PAGES   := bin/man
# fish looks into no folder below /usr/local by itself.
FISHDIR ?= /etc/fish/completions
ZSHDIR  ?= $(SHAREDIR)/zsh/site-functions
COMPLETIONS := $(SHAREDIR)/bash-completion/completions/catenet $(ZSHDIR)/_catenet $(FISHDIR)/catenet.fish
VERSION ?= $(or $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null),dev)
LDFLAGS := -s -w -X github.com/catenet/catenet.version=$(VERSION)
PROGRAMS := catenet catenetd catenet-shim
# What guests start, each where its guest looks. By one name it is Podman's
# netavark, by the other a driver of that.
FRONTS   := catenet-netavark catenet-cni
LIBEXECDIR := $(PREFIX)/libexec
NETAVARK := $(LIBEXECDIR)/catenet/netavark
NETAVARK_DRIVER := $(LIBEXECDIR)/netavark/catenet
# Debian's containerd looks for plugins of CNI in the first, others in the second.
CNIDIRS ?= /usr/lib/cni /opt/cni/bin

.PHONY: all build man install uninstall deb go deps deps-bench kernel root flanneld test soak vet fmt-check lint demo demo-clean lab lab-down bench clean

all: build

build: $(addprefix build-,$(PROGRAMS) $(FRONTS))

build-%: go
	@[ -d bin ] || echo "The first build fetches and compiles all that it needs: about a minute."
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/$* ./cmd/$*

# The pages are written by the programs' own words: catenet's by a build of it
# that is for nothing else.
man: go
	rm -rf $(PAGES)
	CATENET_HOST= $(GO) run -tags man -ldflags '$(LDFLAGS)' ./cmd/catenet $(PAGES)
	$(GO) run -ldflags '$(LDFLAGS)' ./packaging/daemonman $(PAGES)

install: build man
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(UNITDIR) $(dir $(COMPLETIONS)) $(foreach n,1 5 8,$(MANDIR)/man$(n)))
	install -m 0755 $(addprefix bin/,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	install -D -m 0755 bin/catenet-netavark $(DESTDIR)$(NETAVARK)
	install -d $(DESTDIR)$(dir $(NETAVARK_DRIVER))
	ln -sf ../catenet/netavark $(DESTDIR)$(NETAVARK_DRIVER)
	for d in $(CNIDIRS); do install -D -m 0755 bin/catenet-cni $(DESTDIR)$$d/catenet || exit; done
	for u in $(UNITS); do sed 's,@BINDIR@,$(BINDIR),' packaging/$$u >$(DESTDIR)$(UNITDIR)/$$u && chmod 0644 $(DESTDIR)$(UNITDIR)/$$u || exit; done
	for n in 1 5 8; do install -m 0644 $(PAGES)/*.$$n $(DESTDIR)$(MANDIR)/man$$n || exit; done
	bin/catenet completion bash >$(DESTDIR)$(word 1,$(COMPLETIONS))
	bin/catenet completion zsh >$(DESTDIR)$(word 2,$(COMPLETIONS))
	bin/catenet completion fish >$(DESTDIR)$(word 3,$(COMPLETIONS))
	chmod 0644 $(addprefix $(DESTDIR),$(COMPLETIONS))
	@echo "Start it:  systemctl daemon-reload && systemctl enable --now catenet"
	@echo "Let people other than root use it (which makes them root: they can run anything):"
	@echo "  groupadd -r catenet && usermod -aG catenet NAME"

# What a daemon has left on this host goes first, its records stay. A daemon
# that still runs is an error.
uninstall:
	@[ -n "$(DESTDIR)" ] || [ ! -x $(BINDIR)/catenetd ] || $(BINDIR)/catenetd --remove
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,$(PROGRAMS)) $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS))
	rm -f $(addprefix $(DESTDIR),$(NETAVARK) $(NETAVARK_DRIVER) $(addsuffix /catenet,$(CNIDIRS)) $(COMPLETIONS)) $(addprefix $(DESTDIR)$(MANDIR)/,man1/catenet.1 man1/catenet-*.1 man5/catenet.yaml.5 man8/catenetd.8)
	[ ! -d $(DESTDIR)$(dir $(NETAVARK)) ] || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(dir $(NETAVARK))

# A Debian package, in bin: make deb VERSION=v1.2.3.
deb: build man
	rm -rf bin/deb
	$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) --old-file=build --old-file=man install DESTDIR=$(CURDIR)/bin/deb PREFIX=/usr UNITDIR=/lib/systemd/system CNIDIRS=/usr/lib/cni \
		FISHDIR=/usr/share/fish/vendor_completions.d ZSHDIR=/usr/share/zsh/vendor-completions >/dev/null
	@VERSION='$(VERSION)' GO='$(GO)' packaging/deb/build.sh

# Debian's own Go (1.19) cannot read go.mod; from 1.21 on, Go fetches what it asks for.
go:
	@$(GO) list -m >/dev/null || { echo "make: no Go that is new enough: unpack one from https://go.dev/dl to /usr/local/go (beside Debian's: make GO=/usr/local/go/bin/go ...)" >&2; exit 1; }

# Installs what is missing; when nothing is, apt is not called at all.
deps:
	@tools/deps.sh base

deps-bench:
	@tools/deps.sh base bench

# The second kernel, which test/vm boots.
kernel:
	@tools/kernel.sh

# The small Debian in which test/e2e installs the package.
root: deps
	@tools/root.sh

# The flanneld that tests have as a peer: a minute or two, once.
flanneld: deps go
	@tools/flanneld.sh

test: deps kernel root flanneld vet fmt-check
	@echo "Every test, package by package; the whole hosts of test/e2e, at the end, take a minute or two."
	$(GO) test -count=1 -p 2 -timeout 15m ./...

# Minutes; make test has a short one.
soak: deps go
	CATENET_SOAK=$(or $(ATTACHES),50000) $(GO) test -count=1 -v -timeout 60m ./test/soak

vet: go
	@echo "Vetting; the first time, all that the tests need is fetched and compiled: about a minute."
	$(GO) vet ./...

fmt-check:
	@bad=$$(find . -name '*.go' -not -path './.git/*' -exec gofmt -l {} +); \
	[ -z "$$bad" ] || { echo "gofmt would change:"; echo "$$bad"; exit 1; }

# Not part of test: building the linter takes minutes the first time.
lint: vet fmt-check
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

demo: deps build
	@demo/demo.sh

demo-clean:
	@demo/demo.sh clean

# Hosts on one wire to play with: make lab HOSTS=5.
lab: deps build
	@demo/lab.sh up $(or $(HOSTS),3)

lab-down:
	@demo/lab.sh down

# One row or some: make bench ROWS="attach dns"; ROUNDS=50 for more pairs.
bench: deps-bench flanneld build
	@$(GO) build -trimpath -o bin/catenet-bench ./bench
	@$(GO) build -trimpath -o bin/catenet-bench-forward ./bench/forward
	@BENCH_ROUNDS=$(ROUNDS) bin/catenet-bench $(ROWS)

clean:
	rm -rf bin
