package adopt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/docker"
)

// DockerHost is where dockerd listens unless told otherwise.
const DockerHost = "unix:///var/run/docker.sock"

// maxReply bounds an answer of dockerd, in bytes.
const maxReply = 16 << 20

// dockerd is a client of Docker's API, for the few calls that are needed here.
type dockerd struct {
	host string
	http http.Client
}

// Docker asks the dockerd at host, unix:// and the path of its socket, for its
// networks, those first that hold others' settings. One that does not answer is
// an error that says what to do.
func Docker(ctx context.Context, host string) ([]Found, error) {
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok || !strings.HasPrefix(path, "/") {
		return nil, catenet.Unsupportedf("dockerd at %s is not asked", host).
			WithHint("run this on its host: networks are adopted where their bridges are; DOCKER_HOST is unix:// and the path of the socket")
	}
	d := &dockerd{host: host}
	d.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer d.http.CloseIdleConnections()
	var list []struct{ ID string }
	if err := d.call(ctx, "GET", "/networks", nil, &list); err != nil {
		return nil, err
	}
	var found []Found
	for _, n := range list {
		var text json.RawMessage
		if err := d.call(ctx, "GET", "/networks/"+url.PathEscape(n.ID), nil, &text); err != nil {
			return nil, err
		}
		f, err := dockerNetwork(text)
		if err != nil {
			return nil, err
		}
		f.Remove = d.remove(n.ID, text)
		found = append(found, f)
	}
	slices.SortStableFunc(found, func(a, b Found) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return found, nil
}

// dockerNetwork translates what GET /networks/{id} answers.
func dockerNetwork(text []byte) (Found, error) {
	// What is shown has the fields of what is asked for, and more.
	var n struct {
		ID         string `json:"Id"`
		Containers map[string]struct{ Name string }
	}
	var asked network.CreateRequest
	if err := errors.Join(json.Unmarshal(text, &n), json.Unmarshal(text, &asked)); err != nil {
		return Found{}, fmt.Errorf("read network of dockerd: %w", err)
	}
	f := Found{Spec: catenet.NetworkSpec{Name: asked.Name, Driver: asked.Driver}}
	for id, c := range n.Containers {
		name := c.Name
		if name == "" {
			name = catenet.ShortID(id)
		}
		f.Members = append(f.Members, name)
	}
	slices.Sort(f.Members)
	switch {
	case asked.Name == catenet.NetworkBridge || asked.Driver == "host" || asked.Driver == "null" && !asked.ConfigOnly:
		f.LeftOut = "every engine has its own"
		return f, nil
	case asked.Scope != "" && asked.Scope != catenet.ScopeLocal || asked.Ingress || asked.Name == "docker_gwbridge":
		f.LeftOut = "it is the swarm's"
		return f, nil
	}
	asked.ConfigFrom = nil // what it had from there is shown
	if asked.IPAM != nil && len(asked.IPAM.Options) > 0 {
		f.note("options of its IPAM driver are left out")
		asked.IPAM.Options = nil
	}
	if f.Spec, f.Err = docker.Spec(asked); f.Err == nil {
		f.Err = catenet.ValidateName("network", f.Spec.Name)
	}
	if asked.Driver == "bridge" && !asked.ConfigOnly {
		if f.Link = asked.Options[catenet.OptionBridge]; f.Link == "" {
			f.Link = "br-" + catenet.ShortID(n.ID)
		}
		f.Leave = "catenet adopt --replace docker removes it there when it makes it here"
	}
	return f, nil
}

// remove returns Found.Remove of a network.
func (d *dockerd) remove(id string, text []byte) func(context.Context) (func(context.Context) error, error) {
	return func(ctx context.Context) (func(context.Context) error, error) {
		if err := d.call(ctx, "DELETE", "/networks/"+url.PathEscape(id), nil, nil); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			var again map[string]json.RawMessage
			if err := json.Unmarshal(text, &again); err != nil {
				return err
			}
			maps.DeleteFunc(again, func(key string, _ json.RawMessage) bool {
				return slices.Contains([]string{"Id", "Created", "Containers", "Peers", "Status"}, key)
			})
			return d.call(ctx, "POST", "/networks/create", again, nil)
		}, nil
	}
}

// call sends a request and reads its answer; in and out may be nil.
func (d *dockerd) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.http.Do(req)
	if err != nil {
		return catenet.Errorf(catenet.KindUnavailable, "cannot reach dockerd at %s: %w", d.host, errors.Unwrap(err)).
			WithHint("start it (systemctl start docker): it alone tells its networks. DOCKER_HOST names another socket")
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return fmt.Errorf("read answer of dockerd: %w", err)
	}
	if res.StatusCode >= 300 {
		var said struct{ Message string }
		if json.Unmarshal(answer, &said) != nil || said.Message == "" {
			said.Message = res.Status
		}
		return catenet.Conflictf("dockerd refuses %s %s: %s", method, path, said.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer of dockerd: %w", err)
	}
	return nil
}
