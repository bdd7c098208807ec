package netavark

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/catenet/catenet"
)

// labelDefined is a label of the networks that Podman had a definition of when they
// were made for it: the folder of that.
const labelDefined = "podman.network.definitions"

// removeRemoved removes the networks that were made for Podman and of which it has no
// definition any more where it had one: it does not tell when it removes one. Whoever
// is in one, or will be when he is started, keeps it. f.making is held.
func (f *Front) removeRemoved(ctx context.Context, defined []string) error {
	if f.Definitions == "" {
		return nil
	}
	all, err := f.engine.Networks(ctx)
	if err != nil {
		return err
	}
	containers, err := f.engine.Sandboxes(ctx, true)
	if err != nil {
		return err
	}
	for _, n := range all {
		used := len(n.Endpoints) > 0 || slices.ContainsFunc(containers, func(sb catenet.SandboxStatus) bool {
			return slices.ContainsFunc(sb.Networks, func(s catenet.EndpointSpec) bool { return s.Network == n.Name })
		})
		if n.Labels[labelDefined] != f.Definitions || used || slices.Contains(defined, n.Labels[LabelID]) {
			continue
		}
		if _, err := f.engine.RemoveNetwork(ctx, n.ID); err != nil {
			return err
		}
		f.log.Info("Podman has removed a network that was made for it: removed", "network", n.Name)
	}
	return nil
}

// defined are the IDs of the networks that Podman has definitions of.
func (f *Front) defined() ([]string, error) {
	if f.Definitions == "" {
		return nil, nil
	}
	files, err := os.ReadDir(f.Definitions)
	if err != nil {
		return nil, fmt.Errorf("read Podman's definitions: %w", err)
	}
	var ids []string
	for _, file := range files {
		if filepath.Ext(file.Name()) != ".json" {
			continue
		}
		var n Network
		text, err := os.ReadFile(filepath.Join(f.Definitions, file.Name()))
		if err == nil {
			err = json.Unmarshal(text, &n)
		}
		if err != nil {
			return nil, fmt.Errorf("read Podman's definition %s: %w", file.Name(), err)
		}
		ids = append(ids, n.ID)
	}
	return ids, nil
}
