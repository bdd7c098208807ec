package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// plan is what is to be written in one namespace: first the sysctls (what a
// link may hear must be settled before it is up), then one batch. Each part
// knows its way back.
//
// It is made and applied on a thread in that namespace.
type plan struct {
	sysctls []setting // once they are written: those to put back
	batch   batch
	undo    []func(*batch) // for each message of batch; nil: nothing to undo
	kinds   []kind         // of each message
	born    []string       // the outsides of new links that it raises
	raised  []int          // other links that it raises, by index
}

// kind is a type of rtnetlink message.
type kind uint16

// removes tells a message that is as good as done where the thing is absent.
func (k kind) removes() bool {
	return k == unix.RTM_DELADDR || k == unix.RTM_DELROUTE || k == unix.RTM_DELLINK
}

// step adds a message with its way back. The caller goes on with attributes.
func (p *plan) step(undo func(*batch), what string, k kind, flags uint16, body []byte) {
	p.batch.message(what, uint16(k), flags, body)
	p.undo = append(p.undo, undo)
	p.kinds = append(p.kinds, k)
}

// apply writes the plan; on failure it takes back what it did.
func (p *plan) apply(h *Host, c *conn) error {
	wanted := p.sysctls
	p.sysctls = nil
	for _, s := range wanted {
		if c.looks {
			if now, err := readSysctl(s.path); err == nil && !sameWords(now, s.value) {
				return catenet.Conflictf("it is not as it should be: %s is %q, not %q", s.path, now, s.value)
			}
			continue
		}
		changed, err := s.set(s.value)
		if err != nil {
			return errors.Join(err, p.revertSysctls(h, c))
		}
		if changed {
			h.count(c, 1)
			p.sysctls = append(p.sysctls, s)
		}
	}
	refused, err := h.run(c, &p.batch)
	if err != nil {
		return err // the socket broke: there is no telling, and no way to undo
	}
	var first *refusal
	for _, r := range refused {
		absent := p.kinds[r.index].removes() && isAbsent(r.Errno)
		if !absent && first == nil {
			first = r
		}
		// A refused change of a link may have been made in part.
		if p.kinds[r.index] != unix.RTM_NEWLINK {
			p.undo[r.index] = nil
		}
	}
	if first == nil {
		return nil
	}
	return errors.Join(translate(first), p.revert(h, c))
}

// revert takes back all that apply did.
func (p *plan) revert(h *Host, c *conn) error {
	var back batch
	for i := len(p.undo) - 1; i >= 0; i-- {
		if p.undo[i] != nil {
			p.undo[i](&back)
		}
	}
	p.undo = nil
	refused, err := h.run(c, &back)
	errs := []error{err}
	for _, r := range refused {
		// One step back may have taken what another would have.
		if !isAbsent(r.Errno) && r.Errno != unix.EEXIST {
			errs = append(errs, fmt.Errorf("undo: %w", r))
		}
	}
	return errors.Join(append(errs, p.revertSysctls(h, c))...)
}

func (p *plan) revertSysctls(h *Host, c *conn) error {
	var errs []error
	for i := len(p.sysctls) - 1; i >= 0; i-- {
		h.count(c, 1)
		_, err := p.sysctls[i].set(p.sysctls[i].old)
		errs = append(errs, err)
	}
	p.sysctls = nil
	return errors.Join(errs...)
}

// isAbsent tells the errors that say that a thing to remove is not there.
func isAbsent(errno unix.Errno) bool {
	switch errno {
	case unix.ENODEV, unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL, unix.ENXIO:
		return true
	}
	return false
}

// translate gives a refusal the kind that callers act on.
func translate(r *refusal) error {
	switch r.Errno {
	case unix.EEXIST, unix.EBUSY:
		return catenet.Conflictf("%w", r)
	case unix.ENODEV, unix.ENOENT:
		return catenet.NotFoundf("%w", r)
	case unix.EOPNOTSUPP:
		return catenet.Unsupportedf("%w", r)
	case unix.EINVAL, unix.ERANGE, unix.EADDRNOTAVAIL:
		return catenet.Invalidf("%w", r)
	}
	return r
}
