package netavark

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/catenet/catenet"
)

// defaultNetwork is the one that Podman has without a definition.
const defaultNetwork = "podman"

// define writes into Podman's definition of a network what Podman chooses
// addresses from. Podman waits meanwhile: it locks its definitions while it
// calls us. The default network gets a definition, which Podman takes for its
// own.
func (f *Front) define(n Network, tell leases) error {
	if f.Definitions == "" {
		return errors.New("no folder of definitions is set")
	}
	if err := catenet.ValidateName("network", n.Name); err != nil { // it becomes a path
		return err
	}
	path := filepath.Join(f.Definitions, n.Name+".json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && n.Name == defaultNetwork {
		text, err = json.Marshal(n)
	}
	if err != nil {
		return err
	}
	if text, err = redefine(text, n.ID, func(n *Network) { n.lease(tell) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replace(path, text)
}

// lease says of each subnet what Podman is to choose from.
func (n *Network) lease(tell leases) {
	for i, s := range n.Subnets {
		if r, ok := tell[s.Subnet]; ok {
			n.Subnets[i].Lease = &Lease{Start: r.First, End: r.Last}
		}
	}
}

// redefine changes the definition of the network of that ID, and leaves what is
// not known here as it is.
func redefine(text []byte, id string, change func(*Network)) ([]byte, error) {
	var whole, changed map[string]json.RawMessage
	var n Network
	if err := errors.Join(json.Unmarshal(text, &whole), json.Unmarshal(text, &n)); err != nil {
		return nil, err
	}
	if n.ID != id {
		return nil, fmt.Errorf("it is another network: its ID is %.12s, not %.12s", n.ID, id)
	}
	change(&n)
	known, err := json.Marshal(n)
	if err == nil {
		err = json.Unmarshal(known, &changed)
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(whole, changed)
	text, err = json.MarshalIndent(whole, "", "     ") // as Podman does
	return append(text, '\n'), err
}

// replace puts a file in the place of another, at once.
func replace(path string, text []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".catenet-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, werr := tmp.Write(text)
	if err := errors.Join(werr, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
