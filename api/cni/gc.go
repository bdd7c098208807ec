package cni

import (
	"context"
	"errors"
	"fmt"

	"github.com/catenet/catenet"
)

// gc takes away the attachments that a configuration has made and that the
// runtime does not know any more. Where it names none at all, nothing is known
// to be garbage; an empty list says that all is.
func (f *Front) gc(ctx context.Context, c call) error {
	valid := c.conf.Valid
	if valid == nil {
		valid = c.conf.Valid0
	}
	if valid == nil {
		return nil
	}
	keep := make(map[attachment]bool)
	for _, a := range *valid {
		keep[a] = true
	}
	all, err := f.engine.Sandboxes(ctx, false)
	if err != nil {
		return err
	}
	var errs []error
	for _, sb := range all {
		if sb.Owner != catenet.OwnerCNI {
			continue
		}
		for _, ep := range sb.Endpoints {
			if !keep[attachment{sb.RuntimeID, ep.Interface}] { // DEL knows whose it is
				errs = append(errs, f.collect(ctx, c.conf, sb, ep.Interface))
			}
		}
	}
	return errors.Join(errs...)
}

// collect is the DEL that nobody made.
func (f *Front) collect(ctx context.Context, conf config, sb catenet.SandboxStatus, ifname string) error {
	err := f.del(ctx, call{command: "DEL", containerID: sb.RuntimeID, netns: sb.Netns, ifname: ifname, conf: conf})
	if err != nil {
		return fmt.Errorf("remove interface %s of container %s: %w", ifname, sb.Name, err)
	}
	return nil
}
