package flannel

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/flannel"
)

// The options of a network that are the driver's alone.
const (
	optEtcd   = "etcd"   // URLs of the servers, separated by commas
	optPrefix = "prefix" // of the registry's keys
	optCA     = "etcd-ca"
	optCert   = "etcd-cert"
	optKey    = "etcd-key"
	optUser   = "etcd-user" // a file with NAME:PASSWORD: options are shown to whoever asks
	optIface  = "iface"     // the link that other hosts are behind: its name or an address of it
	optIP     = "public-ip" // where other hosts reach this one
	optIPv6   = "public-ipv6"
	optFile   = "subnet-file"  // flanneld's subnet.env
	optConfig = "write-config" // JSON, for a registry that has none
	optIPMasq = "ip-masq"
	optBridge = "bridge"
	optMargin = "renew-margin" // minutes before its end in which a lease is renewed
)

// noBridge is the value of optBridge for a network without containers of ours.
const noBridge = "none"

// optMasquerade is the bridge driver's option that optIPMasq is the short form of.
const optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"

func ownOptions() []string {
	return []string{optEtcd, optPrefix, optCA, optCert, optKey, optUser, optIface, optIP, optIPv6, optFile, optConfig, optIPMasq, optBridge, optMargin}
}

// options are a network's, read.
type options struct {
	etcd       etcd.Config // without User and Password
	user       string      // a file
	prefix     string
	iface      string
	ip, ipv6   netip.Addr // zero: those of iface
	file       string     // subnet.env
	config     string     // to be written; "" for none
	masquerade bool
	noBridge   bool
	margin     time.Duration       // 0: the usual
	base       catenet.NetworkSpec // as the bridge driver is to see it
}

// parse reads and checks a network's options, without a look at any file.
func (d Driver) parse(spec catenet.NetworkSpec) (o options, err error) {
	own, base, err := driver.Apart(d, d.Driver, spec, ownOptions()...)
	if err != nil {
		return o, err
	}
	o = options{user: own[optUser], prefix: own[optPrefix], iface: own[optIface], file: own[optFile], config: own[optConfig], base: base,
		etcd: etcd.Config{CA: own[optCA], Cert: own[optCert], Key: own[optKey]}}
	for url := range strings.SplitSeq(own[optEtcd], ",") {
		if url = strings.TrimSpace(url); url != "" {
			o.etcd.Endpoints = append(o.etcd.Endpoints, url)
		}
	}
	if len(o.etcd.Endpoints) == 0 {
		return o, catenet.Invalidf("a flannel network needs to know its etcd servers").WithHint("-o %s=http://192.0.2.1:2379 names one, or several with commas", optEtcd)
	}
	if err := o.etcd.Validate(); err != nil {
		return o, named(err)
	}
	if err := o.readAddresses(own); err != nil {
		return o, err
	}
	if err := o.readWords(own); err != nil {
		return o, err
	}
	if o.config != "" {
		if _, err := flannel.ParseConfig([]byte(o.config)); err != nil {
			return o, err
		}
	}
	return o, d.Driver.Validate(o.base)
}

func (o *options) readAddresses(own map[string]string) error {
	if _, err := netip.ParseAddr(o.iface); o.iface != "" && err != nil {
		if err := catenet.ValidateInterfaceName(o.iface); err != nil {
			return fmt.Errorf("option %s: %w", optIface, err)
		}
	}
	for key, to := range map[string]*netip.Addr{optIP: &o.ip, optIPv6: &o.ipv6} {
		if own[key] == "" {
			continue
		}
		a, err := netip.ParseAddr(own[key])
		if err != nil || a.Is4() != (key == optIP) || a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() {
			return catenet.Invalidf("option %s: no host is reached at %q", key, own[key]).WithHint("give the address at which the other hosts reach this one")
		}
		*to = a
	}
	return nil
}

// readWords reads the options that are neither addresses nor about etcd's servers.
func (o *options) readWords(own map[string]string) (err error) {
	if o.file == "" {
		o.file = flannel.DefaultEnv
	}
	for key, path := range map[string]string{optFile: o.file, optUser: o.user} {
		if path != "" && !filepath.IsAbs(path) || strings.Contains(path, "\x00") {
			err = catenet.Invalidf("option %s: %q is not the whole path of a file", key, path).WithHint("such as %s", flannel.DefaultEnv)
			if key == optUser { // not to be repeated: it may be a password
				err = catenet.Invalidf("option %s is not the whole path of a file", key).
					WithHint("write NAME:PASSWORD into a file that only root reads: a network's options are shown to whoever asks")
			}
			return err
		}
	}
	switch own[optBridge] {
	case "":
	case noBridge:
		o.noBridge = true
	default:
		return catenet.Invalidf("option %s: %q is not known", optBridge, own[optBridge]).
			WithHint("%s: the network has no containers of this daemon's; a bridge is named by %s", noBridge, catenet.OptionBridge)
	}
	if text, ok := own[optMargin]; ok {
		minutes, err := strconv.Atoi(text)
		if err != nil || minutes < 1 || minutes > 1439 {
			return catenet.Invalidf("option %s: a lease cannot be renewed %q minutes before its end", optMargin, text).WithHint("1 to 1439")
		}
		o.margin = time.Duration(minutes) * time.Minute
	}
	return o.readMasquerade(own)
}

// readMasquerade: without a bridge of ours somebody else hides his containers.
func (o *options) readMasquerade(own map[string]string) (err error) {
	o.masquerade = !o.noBridge
	for key := range o.base.Options {
		if o.noBridge && key != optMasquerade {
			return catenet.Invalidf("option %s is about a bridge, and with %s=%s there is none", key, optBridge, noBridge).WithHint("leave one of the two out")
		}
	}
	key, value := optMasquerade, o.base.Options[optMasquerade]
	if short, ok := own[optIPMasq]; ok {
		if value != "" {
			return catenet.Invalidf("options %s and %s are one and the same", optIPMasq, optMasquerade).WithHint("give one of them")
		}
		key, value = optIPMasq, short
	}
	if value == "" {
		return nil
	}
	if o.masquerade, err = strconv.ParseBool(value); err != nil {
		return catenet.Invalidf("option %s: %q is neither true nor false", key, value)
	}
	o.base.Options[optMasquerade] = strconv.FormatBool(o.masquerade)
	return nil
}

// registry is where the network's nodes find each other.
func (o options) registry(store etcd.Store) flannel.Registry {
	return flannel.Registry{Store: store, Prefix: o.prefix, Servers: o.etcd.Addrs()}
}

// named has an error of a store name the options that it is about.
func named(err error) error {
	for about, option := range map[error]string{etcd.ErrCA: optCA, etcd.ErrCert: optCert + ", " + optKey, etcd.ErrUser: optUser} {
		if errors.Is(err, about) {
			return fmt.Errorf("option %s: %w", option, err)
		}
	}
	return err
}

// advise tells who asks in vain how he has asked, and who finds no config how to write
// one.
func (o options) advise(err error) error {
	if errors.Is(err, flannel.ErrNoConfig) && !o.noBridge {
		return catenet.NotFoundf("%w", err).WithHint("%s; or have this host write it: -o %s=JSON", catenet.HintOf(err), optConfig)
	}
	if catenet.KindOf(err) != catenet.KindUnavailable || catenet.HintOf(err) != "" {
		return err
	}
	e := catenet.Errorf(catenet.KindUnavailable, "%w", err)
	if o.etcd.TLS() {
		return e.WithHint("see whether etcd runs at %s, and takes the certificate of -o %s= and -o %s=", strings.Join(o.etcd.Endpoints, ", "), optCert, optKey)
	}
	return e.WithHint("see whether etcd runs at %s, and is asked without TLS; with TLS, write https://", strings.Join(o.etcd.Endpoints, ", "))
}

// store opens the registry's, with the credentials as the file has them now.
func (d Driver) store(o options) (etcd.Store, error) {
	cfg := o.etcd
	if o.user != "" {
		text, err := etcd.ReadFile(o.user)
		if err != nil {
			return nil, catenet.Invalidf("option %s: %v", optUser, err)
		}
		var ok bool
		cfg.User, cfg.Password, ok = strings.Cut(strings.TrimSpace(string(text)), ":")
		if !ok || cfg.User == "" || cfg.Password == "" {
			return nil, catenet.Invalidf("option %s: %s has no NAME:PASSWORD", optUser, o.user)
		}
	}
	store, err := d.open(cfg)
	return store, named(err)
}
