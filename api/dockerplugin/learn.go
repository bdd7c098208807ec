package dockerplugin

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catenet/catenet"
)

const (
	// again is how long dockerd is left alone when it was not there.
	again = time.Second
	// patience is how long it may take for an answer: what is asked about a
	// container waits for its start, and that for us, for half a minute.
	patience = time.Minute
	// maxEvent bounds one event, in bytes: it has the labels of its container.
	maxEvent = 1 << 20
	// maxConns bounds what is asked at the same time, and maxAsks what waits for that:
	// of a thousand containers that start at once, each is asked about.
	maxConns, maxAsks = 16, 1024
)

// host is dockerd's own API.
type host struct{ http.Client }

// newHost returns the API on a socket, or nil for none.
func newHost(socket string) *host {
	if socket == "" {
		return nil
	}
	return &host{http.Client{Transport: &http.Transport{
		MaxConnsPerHost: maxConns,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// get asks for something. What it returns is to be closed.
func (h *host) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := h.Do(req)
	if at := (*url.Error)(nil); errors.As(err, &at) {
		err = fmt.Errorf("ask dockerd: %w", at.Err) // the address has the time in it
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("dockerd answers %s with %s", path, res.Status)
	}
	return res, nil
}

// read asks for something and reads it into v.
func (h *host) read(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := h.get(ctx, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, maxBody)).Decode(v); err != nil {
		return fmt.Errorf("read dockerd's answer to %s: %w", path, err)
	}
	return nil
}

// hostEvent is what dockerd tells of something that happened.
type hostEvent struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
}

// hostNetwork is a network of Docker's.
type hostNetwork struct {
	ID, Name   string
	IPAM       struct{ Config []struct{ Subnet string } }
	Containers map[string]struct{ EndpointID, IPv4Address, IPv6Address string }
}

// hostContainer is a container of Docker's.
type hostContainer struct {
	ID, Name        string
	NetworkSettings struct {
		Networks map[string]struct {
			EndpointID string
			Aliases    []string
		}
	}
}

// Learn tells the engine what things are called in Docker, as long as ctx lives.
// None of it can be asked while dockerd waits for an answer of ours: it would wait
// for itself.
func (p *Plugin) Learn(ctx context.Context) {
	if p.host == nil {
		return
	}
	for said := ""; ctx.Err() == nil; {
		if err := p.follow(ctx); ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			p.log.Info("names are not learned from dockerd; trying again", "err", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
}

// follow learns what there is, and then what happens, until dockerd goes: the error
// says how.
func (p *Plugin) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filter := url.QueryEscape(`{"type":["network","container"],"event":["create","connect","rename"]}`)
	// dockerd answers before it listens itself: since then lets nothing be missed.
	since := strconv.FormatInt(time.Now().Unix(), 10)
	res, err := p.host.get(ctx, "/events?since="+since+"&filters="+filter)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	freed, err := p.o.Engine.Events(ctx, catenet.Filter{"type": {"sandbox"}, "event": {"rename", "detach", "destroy"}}, time.Time{})
	if err != nil {
		return err
	}
	go func() {
		p.callAgain(ctx, freed)
		cancel() // it ended before ctx: what it has missed is learned anew
	}()
	// Only now: what happens meanwhile is told as well.
	if err := p.learnAll(ctx); err != nil {
		return err
	}
	go p.sweepLater(ctx)
	return p.hear(ctx, res.Body)
}

// hear learns from events, and returns why there are no more.
func (p *Plugin) hear(ctx context.Context, body io.Reader) error {
	asks := make(chan struct{}, maxAsks)
	learn := func(container string) {
		asks <- struct{}{}
		// Beside: dockerd answers only when the container has started.
		go func() {
			p.note("container", p.learnContainer(ctx, container))
			<-asks
		}()
	}
	events := bufio.NewScanner(body)
	events.Buffer(nil, maxEvent)
	for events.Scan() {
		var ev hostEvent
		if err := json.Unmarshal(events.Bytes(), &ev); err != nil {
			return fmt.Errorf("read dockerd's events: %w", err)
		}
		switch {
		case ev.Type == "network" && ev.Action == "create":
			p.note("network", p.learnNetwork(ctx, ev.Actor.ID, ev.Actor.Attributes["name"]))
		case ev.Type == "network" && ev.Action == "connect":
			learn(ev.Actor.Attributes["container"])
		case ev.Type == "container" && ev.Action == "rename":
			learn(ev.Actor.ID)
		}
	}
	return fmt.Errorf("read dockerd's events: %w", cmp.Or(events.Err(), io.EOF))
}

// note logs why something keeps the name that we gave it.
func (p *Plugin) note(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		p.log.Warn("a "+what+" is not called as in Docker", "err", err)
	}
}

func (p *Plugin) learnAll(ctx context.Context) error {
	var networks []hostNetwork
	if err := p.host.read(ctx, "/networks", &networks); err != nil {
		return err
	}
	for _, n := range networks {
		p.note("network", p.learnNetwork(ctx, n.ID, n.Name))
	}
	var containers []struct{ ID string }
	if err := p.host.read(ctx, "/containers/json", &containers); err != nil {
		return err
	}
	for _, c := range containers {
		p.note("container", p.learnContainer(ctx, c.ID))
	}
	return nil
}

// learnNetwork gives a network that dockerd made the name that it has there.
func (p *Plugin) learnNetwork(ctx context.Context, id, name string) error {
	n, err := p.network(ctx, id)
	if catenet.IsNotFound(err) {
		return nil // of another driver
	}
	if err != nil || n.Labels[labelPrefix+id] != made || n.Name == name {
		return err
	}
	_, _, err = p.o.Engine.UpdateNetwork(ctx, n.ID, catenet.NetworkUpdate{Name: name})
	return err
}

// learnContainer gives the sandbox of a container its name, ID and aliases.
func (p *Plugin) learnContainer(ctx context.Context, id string) error {
	var c hostContainer
	if err := p.host.read(ctx, "/containers/"+url.PathEscape(id)+"/json", &c); err != nil {
		return err
	}
	name := strings.TrimPrefix(c.Name, "/")
	aliases := make(map[string][]string)
	var sandbox string
	for _, in := range c.NetworkSettings.Networks {
		sb, ep, err := p.member(ctx, in.EndpointID)
		if catenet.IsNotFound(err) {
			continue // of another driver
		}
		if err != nil {
			return err
		}
		sandbox, aliases[ep.NetworkID] = sb.ID, valid(in.Aliases)
	}
	if sandbox == "" {
		return nil
	}
	_, err := p.o.Engine.UpdateSandbox(ctx, sandbox, catenet.SandboxUpdate{RuntimeID: &c.ID, Aliases: aliases})
	if err == nil {
		err = p.call(ctx, sandbox, name)
	}
	return gone(err)
}

// valid are the aliases that can be names here. Docker takes any word.
func valid(aliases []string) []string {
	return slices.DeleteFunc(slices.Clone(aliases), func(a string) bool { return catenet.ValidateName("alias", a) != nil })
}
