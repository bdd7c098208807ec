package dockerplugin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/catenet/catenet"
)

// maxBody bounds a request, in bytes: a container may publish all of its ports.
const maxBody = 32 << 20

// mediaType is what dockerd says that it accepts.
const mediaType = "application/vnd.docker.plugins.v1.2+json"

// Options are the plugin's surroundings.
type Options struct {
	Engine Engine
	Log    *slog.Logger
	// Host is the socket of dockerd's API; "" is nowhere: names are not learned.
	Host string
	// Forward is told whether any network was made by dockerd, which drops
	// what is forwarded.
	Forward func(ctx context.Context, any bool) error
}

// Plugin answers dockerd. Its methods are safe for concurrent use.
type Plugin struct {
	o    Options
	log  *slog.Logger
	host *host

	nameless wanting

	joining sync.Mutex // held while a sandbox comes to be or goes: several endpoints are one sandbox
}

// New returns a plugin.
func New(o Options) *Plugin {
	return &Plugin{o: o, log: o.Log, host: newHost(o.Host)}
}

// call is one kind of request: what it reads, and what it answers.
type call func(p *Plugin, ctx context.Context, body []byte) (any, error)

// of makes a call of a verb. A request that was cut off dockerd sends again without
// what was in it: nobody knows then what was meant.
func of[Q any](verb func(p *Plugin, ctx context.Context, q Q) (any, error)) call {
	return func(p *Plugin, ctx context.Context, body []byte) (any, error) {
		if len(body) == 0 {
			return nil, catenet.Invalidf("dockerd's request was cut off").WithHint("ask docker once more")
		}
		var q Q
		if err := json.Unmarshal(body, &q); err != nil { // of null, nothing is read
			return nil, catenet.Invalidf("read request: %w", err)
		}
		return verb(p, ctx, q)
	}
}

// cleans is of for what cleans up, which is never refused for that: what is left,
// the next call takes along, or the sweep.
func cleans[Q any](verb func(p *Plugin, ctx context.Context, q Q) (any, error)) call {
	return func(p *Plugin, ctx context.Context, body []byte) (any, error) {
		if len(body) == 0 {
			return empty{}, nil
		}
		return of(verb)(p, ctx, body)
	}
}

// says makes a call of an answer that is always the same.
func says(answer any) call {
	return func(*Plugin, context.Context, []byte) (any, error) { return answer, nil }
}

type empty struct{}

// calls are all there are, by their paths.
func calls() map[string]call {
	return map[string]call{
		"Plugin.Activate": says(map[string][]string{"Implements": {"NetworkDriver", "IpamDriver"}}),

		"NetworkDriver.GetCapabilities": says(map[string]any{"Scope": "local", "ConnectivityScope": "local", "GwAllocChecker": true}),
		"NetworkDriver.GwAllocCheck":    says(map[string]bool{"SkipIPv4": false, "SkipIPv6": false}),
		"NetworkDriver.AllocateNetwork": says(map[string]any{"Options": empty{}}),
		"NetworkDriver.FreeNetwork":     says(empty{}),
		"NetworkDriver.CreateNetwork":   of((*Plugin).createNetwork),
		"NetworkDriver.DeleteNetwork":   cleans((*Plugin).deleteNetwork),

		"NetworkDriver.CreateEndpoint":   of((*Plugin).createEndpoint),
		"NetworkDriver.DeleteEndpoint":   cleans((*Plugin).deleteEndpoint),
		"NetworkDriver.EndpointOperInfo": says(map[string]any{"Value": empty{}}),
		"NetworkDriver.Join":             of((*Plugin).join),
		"NetworkDriver.Leave":            cleans((*Plugin).leave),

		"NetworkDriver.ProgramExternalConnectivity": of((*Plugin).publish),
		"NetworkDriver.RevokeExternalConnectivity":  cleans((*Plugin).unpublish),
		"NetworkDriver.DiscoverNew":                 says(empty{}),
		"NetworkDriver.DiscoverDelete":              says(empty{}),

		"IpamDriver.GetCapabilities":         says(map[string]bool{"RequiresMACAddress": false, "RequiresRequestReplay": false}),
		"IpamDriver.GetDefaultAddressSpaces": says(map[string]string{"LocalDefaultAddressSpace": addressSpace, "GlobalDefaultAddressSpace": addressSpace}),
		"IpamDriver.RequestPool":             of((*Plugin).requestPool),
		"IpamDriver.ReleasePool":             cleans((*Plugin).releasePool),
		"IpamDriver.RequestAddress":          of((*Plugin).requestAddress),
		"IpamDriver.ReleaseAddress":          cleans((*Plugin).releaseAddress),
	}
}

// Handler serves the protocol.
func (p *Plugin) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, c := range calls() {
		mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, path, c) })
	}
	return mux
}

// answer answers one request. A failure is said in the body, under both names
// that the protocol has for it.
func (p *Plugin) answer(w http.ResponseWriter, r *http.Request, path string, c call) {
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var out any
	if err == nil {
		// Who hangs up may ask again, and wants to find it done.
		out, err = c(p, context.WithoutCancel(r.Context()), body)
	}
	w.Header().Set("Content-Type", mediaType)
	if err != nil {
		p.log.Warn("dockerd is refused", "call", path, "err", err)
		msg := err.Error()
		if hint := catenet.HintOf(err); hint != "" {
			msg += " (" + hint + ")"
		}
		out = map[string]string{"Err": msg, "Error": msg}
		if errors.As(err, new(*http.MaxBytesError)) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		p.log.Warn("answer dockerd", "call", path, "err", err)
	}
	p.log.Debug("dockerd asks", "call", path, "took", time.Since(began))
}
