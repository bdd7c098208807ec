package netavark

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/pipe"
)

// apiVersion is that of the protocol of netavark's plugins.
const apiVersion = "1.0.0"

// arguments are those of one call.
type arguments struct {
	verb, of string // of: the namespace's path, or the network
	servers  []string
	rootless bool
	version  bool
}

// Path is where the daemon takes the program's calls.
const Path = "/v1/netavark"

// Answer carries out one call of the program.
func (f *Front) Answer(ctx context.Context, c pipe.Call) pipe.Answer {
	out, err := f.call(ctx, c.Args, c.Stdin)
	if err != nil {
		return failure(err)
	}
	if out == nil {
		return pipe.Answer{}
	}
	if line, ok := out.(string); ok {
		return pipe.Answer{Stdout: []byte(line + "\n")}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return failure(err)
	}
	return pipe.Answer{Stdout: append(b, '\n')}
}

// failure is an error as Podman reads it.
func failure(err error) pipe.Answer {
	err = catenet.Unwritable(err)
	text := err.Error()
	if hint := catenet.HintOf(err); hint != "" {
		text += ": " + hint
	}
	b, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		b = nil // a string can be written
	}
	return pipe.Answer{Stdout: append(b, '\n'), Exit: 1}
}

func (f *Front) call(ctx context.Context, args []string, stdin []byte) (any, error) {
	a, err := parse(args)
	if err != nil {
		return nil, err
	}
	switch {
	case a.version:
		return "catenet-netavark " + catenet.BuildVersion().Version, nil
	case a.rootless:
		return nil, catenet.Unsupportedf("Podman without root has a host of its own, which catenet's networks do not reach").
			WithHint("run podman as root, or leave --network out")
	}
	switch a.verb {
	case "setup", "teardown":
		var r request
		if err := read(stdin, &r); err != nil {
			return nil, err
		}
		if a.verb == "teardown" {
			return nil, f.teardown(ctx, r)
		}
		all, err := f.setup(ctx, a.of, r)
		if err == nil && r.Network != nil { // a plugin answers for its one network
			return all[r.Network.Name], nil
		}
		return all, err
	case "update":
		return nil, f.update(ctx, a.of, a.servers)
	case "create":
		return f.definition(ctx, stdin)
	case "version", "info":
		return map[string]string{"version": catenet.BuildVersion().Version, "api_version": apiVersion}, nil
	case "firewall-reload", "firewalld-reload":
		return nil, nil // the daemon puts back what of its rules somebody removes
	case "dhcp-proxy":
		return nil, catenet.Unsupportedf("catenet has no DHCP").WithHint("let Podman choose addresses: --ipam-driver host-local")
	}
	return nil, catenet.Invalidf("unknown command %q", a.verb).
		WithHint("commands: create, setup, teardown, update, version, info, firewall-reload")
}

// read decodes standard input. Later versions of Podman may say more than is
// known here.
func read(stdin []byte, v any) error {
	if err := json.Unmarshal(stdin, v); err != nil {
		return catenet.Invalidf("read request: %v", err)
	}
	return nil
}

// parse reads the arguments. Those that tell netavark of its other programs and
// its firewall mean nothing here.
func parse(args []string) (a arguments, err error) {
	fs := pflag.NewFlagSet("catenet-netavark", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringP("config", "c", "", "")
	fs.StringP("aardvark-binary", "a", "", "")
	fs.StringArray("plugin-directory", nil, "")
	fs.String("firewall-driver", "", "")
	rootless := fs.StringP("rootless", "r", "false", "")
	fs.StringArrayVar(&a.servers, "network-dns-servers", nil, "")
	fs.BoolVarP(&a.version, "version", "V", false, "")
	if err := fs.Parse(args); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return a, catenet.Invalidf("%w", err).WithHint("catenet-netavark is called by Podman, as netavark is")
	}
	switch *rootless {
	case "true":
		a.rootless = true
	case "false":
	default:
		return a, catenet.Invalidf("--rootless is neither true nor false: %q", *rootless)
	}
	a.verb, a.of = fs.Arg(0), fs.Arg(1)
	takes := 1
	if a.verb == "setup" || a.verb == "teardown" || a.verb == "update" {
		takes = 2
	}
	if a.verb == "setup" && fs.NArg() == takes && !filepath.IsAbs(a.of) {
		return a, catenet.Invalidf("setup of %q, which is no absolute path of a namespace", a.of).
			WithHint("catenet-netavark is called by Podman, as netavark is: setup /run/netns/NAME")
	}
	if fs.NArg() != takes && !a.version {
		return a, catenet.Invalidf("%s", fmt.Sprintf("%q is no call of netavark", args)).
			WithHint("setup NAMESPACE, teardown NAMESPACE, update NETWORK --network-dns-servers ADDRESSES, create, version, info, firewall-reload")
	}
	return a, nil
}
