package link

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// A frame that an isolated port sends to the bridge itself is for the host to
// route. Where bridged frames pass the IP firewall (bridge-nf-call-iptables),
// the address of a published port is translated while the frame is still on
// the bridge, which then hands it from port to port; and isolation drops it.
//
// So such a frame gets a priority tag (IEEE 802.1Q, VLAN 0): br_netfilter
// leaves tagged frames alone, the bridge learns from them and passes them up
// as ever, and the kernel takes the tag of VLAN 0 off before any IP layer sees
// the packet. The tag is metadata: no byte is moved.
//
// The program hangs on a filter of the port's clsact qdisc (tc-bpf(8)), which
// dies with the port: there is nothing to keep and nothing to clean up. (What
// is attached by TCX dies with it as well, but each attachment waits for an
// RCU grace period, with the kernel's lock on all links held.)

// Constants of linux/pkt_sched.h and linux/pkt_cls.h.
const (
	tcClsact    = 0xfffffff1                 // TC_H_CLSACT, as a parent
	tcIngress   = 0xfffffff2                 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	tcQdisc     = 0xffff0000                 // handle of a clsact
	tcFilter    = kernel.RouteProtocol       // handle of our filter: the number that is ours elsewhere
	tcPriority  = kernel.RouteProtocol << 16 // its priority, as part of tcm_info
	bpfFD       = 6                          // TCA_BPF_FD
	bpfName     = 7                          // TCA_BPF_NAME
	bpfFlags    = 8                          // TCA_BPF_FLAGS
	bpfFlagsAct = 1                          // TCA_BPF_FLAG_ACT_DIRECT: the program's word is final
	tcUnspec    = -1                         // TC_ACT_UNSPEC: go on to other filters
)

// Fields of struct __sk_buff (linux/bpf.h).
const (
	skbVLANPresent = 20
	skbData        = 76
	skbDataEnd     = 80
)

// gateward names the filter by what it does, so that one of another bridge,
// or of an earlier version of this program, is told by its name.
func gateward(bridge net.HardwareAddr) string {
	return kernel.Mark + "gateward-1 " + bridge.String()
}

// gatewardProgram tags what is sent to the bridge.
func gatewardProgram(bridge net.HardwareAddr) (*ebpf.Program, error) {
	code := asm.Instructions{
		// One that has a tag would be given a second one, in its bytes.
		asm.LoadMem(asm.R2, asm.R1, skbVLANPresent, asm.Word),
		asm.JNE.Imm(asm.R2, 0, "out"),
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(bridge))),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
	}
	for i := 0; i < len(bridge); i += 2 { // a frame is aligned to 2 bytes, and no more
		code = append(code,
			asm.LoadMem(asm.R4, asm.R2, int16(i), asm.Half),
			asm.JNE.Imm(asm.R4, int32(native.Uint16(bridge[i:])), "out"))
	}
	code = append(code,
		asm.Mov.Imm(asm.R2, int32(native.Uint16([]byte{0x81, 0x00}))), // ETH_P_8021Q in network order
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, tcUnspec).WithSymbol("out"),
		asm.Return(),
	)
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "catenet_gatewrd", Type: ebpf.SchedCLS, Instructions: code, License: "Apache-2.0",
	})
}

// settleGateward makes the port of that index have the filter for a bridge,
// by its name, or none if that is "".
func (h *Host) settleGateward(c *conn, index int, bridge string) error {
	if h.noGateward.Load() {
		return nil
	}
	have, err := c.filterName(index)
	if err != nil {
		return err
	}
	if bridge == "" {
		return h.removeGateward(c, index, have)
	}
	mac, err := c.bridgeMAC(bridge)
	if err != nil || have == gateward(mac) {
		return err
	}
	return h.setGateward(c, index, mac)
}

// removeGateward removes the filter if it is one of ours by its name.
func (h *Host) removeGateward(c *conn, index int, name string) error {
	if !strings.HasPrefix(name, kernel.Mark) {
		return nil
	}
	var b batch
	b.message("remove filter of isolated port", unix.RTM_DELTFILTER, 0, filterBody(index))
	b.str(unix.TCA_KIND, "bpf")
	refused, err := h.run(c, &b)
	if err == nil && len(refused) > 0 {
		err = translate(refused[0])
	}
	return err
}

// addGateward gives a port that is new its filter.
func (h *Host) addGateward(c *conn, name, bridge string) error {
	if h.noGateward.Load() {
		return nil
	}
	mac, err := c.bridgeMAC(bridge)
	if err != nil {
		return err
	}
	index, err := c.index(name)
	if err != nil {
		return err
	}
	return h.setGateward(c, index, mac)
}

// setGateward sets the filter, in place of what is there. A kernel without
// such filters is named once in the log, and the port stays as it is.
func (h *Host) setGateward(c *conn, index int, bridge net.HardwareAddr) error {
	program, err := gatewardProgram(bridge)
	if err != nil {
		h.lackGateward(err)
		return nil
	}
	defer program.Close() // the filter holds it
	var b batch
	b.message("make clsact qdisc", unix.RTM_NEWQDISC, unix.NLM_F_CREATE, tcBody(index, tcQdisc, tcClsact, 0))
	b.str(unix.TCA_KIND, "clsact")
	b.message("set filter of isolated port", unix.RTM_NEWTFILTER, unix.NLM_F_CREATE, filterBody(index))
	b.str(unix.TCA_KIND, "bpf")
	options := b.nest(unix.TCA_OPTIONS | unix.NLA_F_NESTED)
	b.u32(bpfFD, uint32(program.FD()))
	b.str(bpfName, gateward(bridge))
	b.u32(bpfFlags, bpfFlagsAct)
	b.end(options)
	refused, err := h.run(c, &b)
	if err != nil || len(refused) == 0 {
		return err
	}
	// Where somebody else's qdisc is in the place, it may serve as well.
	if refused[len(refused)-1].index == 0 {
		return nil
	}
	switch first := refused[0]; first.Errno {
	case unix.ENOENT, unix.EOPNOTSUPP, unix.EPERM: // no such qdisc, no such filter, or not for us
		h.lackGateward(first)
		return nil
	default:
		return translate(first)
	}
}

// lackGateward says once what does not work here.
func (h *Host) lackGateward(because error) {
	if !h.noGateward.Swap(true) {
		h.log.Warn("this kernel has no tc-bpf filters: on networks without icc, containers do not reach each other's "+
			"published ports while net.bridge.bridge-nf-call-iptables is 1", "because", because)
	}
}

// filterName returns the name of the BPF filter at our place on a port, or ""
// if there is none.
func (c *conn) filterName(index int) (name string, err error) {
	var b batch
	b.message("look at filter", unix.RTM_GETTFILTER, 0, filterBody(index))
	b.str(unix.TCA_KIND, "bpf")
	err = c.query(&b, func(m wire.Message) { name = readFilterName(m.Data) })
	// EINVAL: there is no qdisc, or it has no filter at all.
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at the filter of a port: %w", err)
	}
	return name, nil
}

func readFilterName(body []byte) string {
	if len(body) < tcBodyLen {
		return ""
	}
	for kind, v := range wire.Attrs(body[tcBodyLen:]) {
		if kind != unix.TCA_OPTIONS {
			continue
		}
		for kind, v := range wire.Attrs(v) {
			if kind == bpfName {
				return wire.Text(v)
			}
		}
	}
	return ""
}

const tcBodyLen = 20

// tcBody is a struct tcmsg (rtnetlink(7)).
func tcBody(index int, handle, parent, info uint32) []byte {
	b := native.AppendUint32(make([]byte, 4, tcBodyLen), uint32(index))
	b = native.AppendUint32(b, handle)
	b = native.AppendUint32(b, parent)
	return native.AppendUint32(b, info)
}

// filterBody is our filter's, for frames of all protocols (ETH_P_ALL, 3).
func filterBody(index int) []byte {
	return tcBody(index, tcFilter, tcIngress, tcPriority|uint32(native.Uint16([]byte{0, 3})))
}

// bridgeMAC returns the address that frames for the bridge of that name are
// sent to.
func (c *conn) bridgeMAC(bridge string) (net.HardwareAddr, error) {
	i, err := c.link(bridge)
	if err != nil {
		return nil, err
	}
	if i == nil || len(i.mac) != 6 {
		return nil, catenet.NotFoundf("there is no bridge %s", bridge)
	}
	return i.mac, nil
}
