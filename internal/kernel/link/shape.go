package link

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// What leaves by a link is shaped by a token bucket at its root (tc-tbf(8)).
// The kernel has no queue for what arrives by a link: that is led through
// another one first, of kind ifb, which it leaves by a bucket of its own, and
// comes back as if it had just arrived. A filter of the clsact qdisc leads it
// there (tc-u32(8), tc-mirred(8)): it matches everything, and follows that of
// isolated ports. A bpf filter cannot lead a packet to an ifb, which drops what
// was not redirected by an action, and not every kernel has matchall.

// Constants of linux/pkt_sched.h, linux/pkt_cls.h and linux/tc_act.
const (
	tcRoot        = 0xffffffff                       // TC_H_ROOT, as a parent
	tcShaper      = kernel.RouteProtocol << 16       // handle of our bucket, 159:
	tcThrough     = (kernel.RouteProtocol + 1) << 16 // priority of our filter, as part of tcm_info
	tbfParms      = 1                                // TCA_TBF_PARMS
	tbfRate64     = 4                                // TCA_TBF_RATE64
	tbfBurst      = 6                                // TCA_TBF_BURST
	linkEthernet  = 1                                // TC_LINKLAYER_ETHERNET
	u32Sel        = 5                                // TCA_U32_SEL
	u32Act        = 7                                // TCA_U32_ACT
	u32Terminal   = 1                                // TC_U32_TERMINAL
	actKind       = 1                                // TCA_ACT_KIND
	actOptions    = 2                                // TCA_ACT_OPTIONS
	mirredParms   = 2                                // TCA_MIRRED_PARMS
	actStolen     = 4                                // TC_ACT_STOLEN
	egressRedir   = 1                                // TCA_EGRESS_REDIR
	mirredLen     = 28                               // struct tc_mirred
	mirredIndexAt = 24                               // its ifindex
	tbfLen        = 36                               // struct tc_tbf_qopt
	tbfRateAt     = 8                                // its rate.rate
	tbfLimitAt    = 24                               // its limit
)

// queueMillis is how long, in milliseconds, a packet may wait for its turn: what
// would wait longer is dropped.
const queueMillis = 25

// bucket is a token bucket as the kernel has it; the zero value is any other
// qdisc.
type bucket struct {
	rate  uint64 // bytes a second
	limit uint32 // bytes that may wait
}

func bucketOf(r kernel.Rate) bucket {
	return bucket{r.Bytes, uint32(min(uint64(r.Burst)+r.Bytes*queueMillis/1000, 1<<32-1))}
}

// shape makes the link of that name have the shaping of l.
func (h *Host) shape(c *conn, l kernel.Link) error {
	if l.Rate.Bytes == 0 && l.Through == "" {
		return nil
	}
	index, err := c.index(l.Name)
	if err != nil {
		return err
	}
	if l.Rate.Bytes != 0 {
		have, err := c.bucket(index)
		if err == nil && have != bucketOf(l.Rate) {
			err = h.setBucket(c, index, l.Rate)
		}
		if err != nil {
			return fmt.Errorf("bound the rate of %s: %w", l.Name, err)
		}
	}
	if l.Through != "" {
		if err := h.settleThrough(c, index, l.Through); err != nil {
			return fmt.Errorf("lead what comes by %s through %s: %w", l.Name, l.Through, err)
		}
	}
	return nil
}

// setBucket puts a token bucket in the place of the link's root qdisc.
func (h *Host) setBucket(c *conn, index int, r kernel.Rate) error {
	parms := make([]byte, tbfLen)
	parms[1] = linkEthernet
	native.PutUint32(parms[tbfRateAt:], uint32(min(r.Bytes, 1<<32-1)))
	native.PutUint32(parms[tbfLimitAt:], bucketOf(r).limit)
	var b batch
	b.message("make tbf qdisc", unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, tcBody(index, tcShaper, tcRoot, 0))
	b.str(unix.TCA_KIND, "tbf")
	options := b.nest(unix.TCA_OPTIONS | unix.NLA_F_NESTED)
	b.attr(tbfParms, parms)
	b.u32(tbfBurst, r.Burst)
	if r.Bytes >= 1<<32 {
		b.attr(tbfRate64, native.AppendUint64(nil, r.Bytes))
	}
	b.end(options)
	return h.change(c, &b)
}

// bucket returns the token bucket at the root of a link, or none. Of a qdisc
// that nobody has set the kernel tells nothing, so that the end of its answer
// has to be asked for; it answers who asks for an echo.
func (c *conn) bucket(index int) (k bucket, err error) {
	var b batch
	b.message("look at qdisc", unix.RTM_GETQDISC, unix.NLM_F_ACK|unix.NLM_F_ECHO, tcBody(index, 0, tcRoot, 0))
	b.close()
	err = c.ask(b.buf, func(m wire.Message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR {
			k = readBucket(m.Data)
			return false, nil
		}
		if a := m.Answer(); a.Errno != 0 && !isAbsent(a.Errno) {
			return true, &refusal{0, b.whats[0], a}
		}
		return true, nil
	})
	return k, err
}

func readBucket(body []byte) (k bucket) {
	if len(body) < tcBodyLen {
		return k
	}
	tbf := false
	for kind, v := range wire.Attrs(body[tcBodyLen:]) {
		switch kind {
		case unix.TCA_KIND:
			tbf = wire.Text(v) == "tbf"
		case unix.TCA_OPTIONS:
			for kind, v := range wire.Attrs(v) {
				switch {
				case kind == tbfParms && len(v) >= tbfLen && k.rate == 0:
					k = bucket{uint64(native.Uint32(v[tbfRateAt:])), native.Uint32(v[tbfLimitAt:])}
				case kind == tbfRate64 && len(v) == 8:
					k.rate = native.Uint64(v)
				}
			}
		}
	}
	if !tbf {
		return bucket{}
	}
	return k
}

// settleThrough makes what arrives by a link go through another one first.
func (h *Host) settleThrough(c *conn, index int, through string) error {
	to, err := c.index(through)
	if err != nil {
		return err
	}
	if to == 0 {
		return catenet.NotFoundf("there is no link %s", through)
	}
	have, present, err := c.through(index)
	if err != nil || have == to {
		return err
	}
	if present {
		var b batch
		b.message("remove filter", unix.RTM_DELTFILTER, 0, throughBody(index))
		b.str(unix.TCA_KIND, "u32")
		if err := h.change(c, &b); err != nil && !catenet.IsNotFound(err) {
			return err
		}
	}
	var b batch
	b.message("make clsact qdisc", unix.RTM_NEWQDISC, unix.NLM_F_CREATE, tcBody(index, tcQdisc, tcClsact, 0))
	b.str(unix.TCA_KIND, "clsact")
	throughFilter(&b, index, to)
	refused, err := h.run(c, &b)
	if err != nil || len(refused) == 0 || refused[len(refused)-1].index == 0 { // somebody's qdisc in the place serves as well
		return err
	}
	return translate(refused[len(refused)-1])
}

// throughFilter appends the filter that leads all that arrives to a link.
func throughFilter(b *batch, index, to int) {
	b.message("set filter", unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, throughBody(index))
	b.str(unix.TCA_KIND, "u32")
	options := b.nest(unix.TCA_OPTIONS | unix.NLA_F_NESTED)
	// struct tc_u32_sel with one tc_u32_key whose mask is zero: it fits all.
	sel := make([]byte, 32)
	sel[0], sel[2] = u32Terminal, 1
	b.attr(u32Sel, sel)
	acts := b.nest(u32Act | unix.NLA_F_NESTED)
	first := b.nest(1 | unix.NLA_F_NESTED)
	b.str(actKind, "mirred")
	parms := make([]byte, mirredLen) // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
	native.PutUint32(parms[8:], actStolen)
	native.PutUint32(parms[20:], egressRedir)
	native.PutUint32(parms[mirredIndexAt:], uint32(to))
	inner := b.nest(actOptions | unix.NLA_F_NESTED)
	b.attr(mirredParms, parms)
	b.end(inner)
	b.end(first)
	b.end(acts)
	b.end(options)
}

// through returns to which link our filter leads what arrives by one, 0 if that
// is gone, and whether there is such a filter.
func (c *conn) through(index int) (to int, present bool, err error) {
	var b batch
	b.message("list filters", unix.RTM_GETTFILTER, 0, tcBody(index, 0, tcIngress, 0))
	err = c.dump(&b, func() { to, present = 0, false }, func(m wire.Message) {
		if len(m.Data) < tcBodyLen || native.Uint32(m.Data[16:])&0xffff0000 != tcThrough {
			return
		}
		present = true
		if found := readThrough(m.Data[tcBodyLen:]); found != 0 {
			to = found
		}
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) { // there is no qdisc
		return 0, false, nil
	}
	return to, present, err
}

// readThrough finds the link that a filter's action leads to, or 0.
func readThrough(attrs []byte) (to int) {
	for path, v := range wire.Attrs(attrs) {
		if path != unix.TCA_OPTIONS {
			continue
		}
		for kind, v := range wire.Attrs(v) {
			if kind != u32Act {
				continue
			}
			for _, v := range wire.Attrs(v) { // of each action
				to = max(to, readMirred(v))
			}
		}
	}
	return to
}

func readMirred(action []byte) int {
	for kind, v := range wire.Attrs(action) {
		if kind != actOptions {
			continue
		}
		for kind, v := range wire.Attrs(v) {
			if kind == mirredParms && len(v) >= mirredLen {
				return int(native.Uint32(v[mirredIndexAt:]))
			}
		}
	}
	return 0
}

// throughBody is our filter's, for frames of all protocols (ETH_P_ALL, 3).
func throughBody(index int) []byte {
	return tcBody(index, 0, tcIngress, tcThrough|uint32(native.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))))
}
