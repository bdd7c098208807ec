package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// IsStale reports whether err says that the kernel has not what it was
// believed to have: something to change is gone, or something to make is
// there already and differs.
func IsStale(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}

// explain turns the kernel's answer to one message of a batch into an error
// that names the step.
func explain(b Batch, e encoded, f *failure) error {
	i := -1
	for k, m := range e.msgs {
		if m.Seq == f.seq {
			i = k
		}
	}
	if i < 0 || e.of[i] < 0 {
		if errors.Is(f.Errno, unix.EPERM) {
			return catenet.Errorf(catenet.KindForbidden, "change the firewall: %w", f.Errno).
				WithHint("run as root, or with CAP_NET_ADMIN in the owner of this network namespace")
		}
		return fmt.Errorf("commit firewall transaction: %w", f.Errno)
	}
	op := b[e.of[i]]
	expr := exprAt(e.msgs[i].Data, int(f.Offset))
	missing := errors.Is(f.Errno, unix.EOPNOTSUPP) || errors.Is(f.Errno, unix.EAFNOSUPPORT)
	switch {
	case errors.Is(f.Errno, unix.EPERM):
		return catenet.Conflictf("%s: it belongs to another running process", op).
			WithHint("stop the other catenetd of this network namespace")
	case expr != "" && expr != "lookup" && (missing || errors.Is(f.Errno, unix.ENOENT)):
		return catenet.Unsupportedf("%s: this kernel has no nf_tables expression %q", op, expr)
	case missing:
		return catenet.Errorf(catenet.KindUnsupported, "%s: this kernel does not support it: %w", op, f.Errno)
	}
	if expr != "" {
		return fmt.Errorf("%s: expression %s: %w", op, expr, f.Errno)
	}
	if f.Text != "" {
		return fmt.Errorf("%s: %s: %w", op, f.Text, f.Errno)
	}
	return fmt.Errorf("%s: %w", op, f.Errno)
}

// exprAt returns the name of the expression that the kernel pointed at with
// an offset into a rule's message, or "".
func exprAt(data []byte, offset int) string {
	const fixed = 16 + 4 // struct nlmsghdr and struct nfgenmsg
	name := ""
	at := fixed
	for b := data[min(4, len(data)):]; len(b) >= 4; {
		n, typ := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		size := (n + 3) &^ 3
		if n < 4 || size > len(b) {
			return ""
		}
		if typ == 4|unix.NLA_F_NESTED && offset > at && offset < at+size { // NFTA_RULE_EXPRESSIONS
			b, at = b[4:size], at+4
			continue
		}
		if typ == 1|unix.NLA_F_NESTED && offset >= at && offset < at+size { // NFTA_LIST_ELEM
			_ = walk(b[4:n], func(a attr) {
				if a.typ == 1 {
					name = a.str()
				}
			}) // our own message
			return name
		}
		b, at = b[size:], at+size
	}
	return name
}
