package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/catenet/catenet"
)

// A hook is one place that a program of ours is attached at.
type hook struct {
	name   string // of its pin
	attach ebpf.AttachType
	six    bool // the context holds an IPv6 address
	back   bool // restores the address that was asked for, instead of replacing it
}

var hooks = []hook{
	{"connect4", ebpf.AttachCGroupInet4Connect, false, false},
	{"connect6", ebpf.AttachCGroupInet6Connect, true, false},
	{"sendmsg4", ebpf.AttachCGroupUDP4Sendmsg, false, false},
	{"sendmsg6", ebpf.AttachCGroupUDP6Sendmsg, true, false},
	{"recvmsg4", ebpf.AttachCGroupUDP4Recvmsg, false, true},
	{"recvmsg6", ebpf.AttachCGroupUDP6Recvmsg, true, true},
	{"getpeername4", ebpf.AttachCgroupInet4GetPeername, false, true},
	{"getpeername6", ebpf.AttachCgroupInet6GetPeername, true, true},
}

// Offsets in struct bpf_sock_addr (linux/bpf.h).
const (
	ctxIP4      = 4
	ctxIP6      = 8 // four words
	ctxPort     = 24
	ctxProtocol = 36
)

// Where the programs keep things on their stack, from the frame pointer down.
// The layouts are those of place and flowKey.
const (
	onStackPlace = -24 // address 16, port 2, protocol 2
	onStackFlow  = -56 // cookie 8, address 16, port 2, zero 6

	placePort  = 16
	placeProto = 18
	flowAddr   = 8
	flowPort   = 24
)

// Registers that keep their value across calls.
const (
	regCtx   = asm.R6
	regProto = asm.R7
	regLast  = asm.R8 // last word of the address that was asked for
	regTo    = asm.R9 // value found in a map
)

const (
	mappedPrefix = 0xffff     // third word of an IPv4-mapped address
	loopback4    = 0x7f000001 // 127.0.0.1
	loopback6    = 1          // last word of ::1
)

// load has the kernel verify and take in the program of a hook.
func (h hook) load(cookie uint64, ports, flows *ebpf.Map) (*ebpf.Program, error) {
	code := here(cookie)
	if h.back {
		code = append(code, h.restore(flows)...)
	} else {
		code = append(code, h.replace(ports, flows)...)
	}
	code = append(code,
		asm.Mov.Imm(asm.R0, 1).WithSymbol("out"), // go on
		asm.Return(),
	)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "catenet_" + h.name[:min(len(h.name), 7)], Type: ebpf.CGroupSockAddr,
		AttachType: h.attach, Instructions: code, License: "Apache-2.0",
	})
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", h.name, err)
	}
	return prog, nil
}

// here goes out unless the socket is of the daemon's network namespace.
func here(cookie uint64) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(regCtx, asm.R1),
		asm.FnGetNetnsCookie.Call(),
		asm.LoadImm(asm.R1, int64(cookie), asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R1, "out"),
	}
}

// replace leads a destination that is published to the container.
func (h hook) replace(ports, flows *ebpf.Map) asm.Instructions {
	tcp, udp := int32(catenet.TCP.Number()), int32(catenet.UDP.Number())
	code := asm.Instructions{
		asm.LoadMem(regProto, regCtx, ctxProtocol, asm.Word),
		asm.JEq.Imm(regProto, tcp, "ours"),
		asm.JNE.Imm(regProto, udp, "out"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("ours"),
	}
	code = append(code, h.asked()...)
	code = append(code,
		asm.LoadMem(asm.R0, regCtx, ctxPort, asm.Word),
		asm.StoreMem(asm.RFP, onStackPlace+placePort, asm.R0, asm.Half),
		asm.StoreMem(asm.RFP, onStackPlace+placeProto, regProto, asm.Half),
	)
	// The very address, else the unspecified one of its family, which
	// differs in the last word alone.
	code = append(code, lookup(ports, onStackPlace)...)
	code = append(code,
		asm.JNE.Imm(asm.R0, 0, "found"),
		asm.StoreImm(asm.RFP, onStackPlace+12, 0, asm.Word))
	code = append(code, lookup(ports, onStackPlace)...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.StoreMem(asm.RFP, onStackPlace+12, regLast, asm.Word),
		asm.Mov.Reg(regTo, asm.R0).WithSymbol("found"),
	)
	code = append(code, remember(flows)...)
	return append(code, h.rewrite()...)
}

// asked puts the destination on the stack, in IPv6 form, its last word in
// regLast too, and goes out unless it is a loopback address. The unspecified
// one stands for loopback, as it does for the kernel.
func (h hook) asked() asm.Instructions {
	if !h.six {
		code := asm.Instructions{
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, onStackPlace, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R1, mappedPrefix),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.RFP, onStackPlace+8, asm.R1, asm.Word),
			asm.LoadMem(regLast, regCtx, ctxIP4, asm.Word),
		}
		return append(code, loopbackFour()...)
	}
	code := asm.Instructions{
		asm.LoadMem(asm.R1, regCtx, ctxIP6, asm.Word),
		asm.LoadMem(asm.R2, regCtx, ctxIP6+4, asm.Word),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, onStackPlace, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, regCtx, ctxIP6+8, asm.Word),
		asm.StoreMem(asm.RFP, onStackPlace+8, asm.R1, asm.Word),
		asm.LoadMem(regLast, regCtx, ctxIP6+12, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.JEq.Imm(asm.R1, mappedPrefix, "mapped"),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.Mov.Reg(asm.R1, regLast),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.JEq.Imm(asm.R1, loopback6, "keep"),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.Mov.Imm(regLast, loopback6),
		asm.HostTo(asm.BE, regLast, asm.Word),
		asm.Ja.Label("keep"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("mapped"),
	}
	return append(code, loopbackFour()...)
}

// loopbackFour is asked for an IPv4 address in regLast.
func loopbackFour() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regLast),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "not0"),
		asm.Mov.Imm(regLast, loopback4),
		asm.HostTo(asm.BE, regLast, asm.Word),
		asm.Ja.Label("keep"),
		asm.RSh.Imm(asm.R1, 24).WithSymbol("not0"),
		asm.JNE.Imm(asm.R1, loopback4>>24, "out"),
		asm.StoreMem(asm.RFP, onStackPlace+12, regLast, asm.Word).WithSymbol("keep"),
	}
}

// lookup looks up what is at an offset of the stack; R0 is the value or 0.
func lookup(m *ebpf.Map, at int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, at),
		asm.FnMapLookupElem.Call(),
	}
}

// cookie puts the socket's cookie and the padding of a flowKey on the stack.
func cookie() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regCtx),
		asm.FnGetSocketCookie.Call(),
		asm.StoreMem(asm.RFP, onStackFlow, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, onStackFlow+flowPort, asm.R1, asm.DWord),
	}
}

// remember records which place the socket asked for when it was led to regTo.
func remember(flows *ebpf.Map) asm.Instructions {
	code := cookie()
	for w := int16(0); w < 16; w += 4 {
		code = append(code,
			asm.LoadMem(asm.R1, regTo, w, asm.Word),
			asm.StoreMem(asm.RFP, onStackFlow+flowAddr+w, asm.R1, asm.Word))
	}
	return append(code,
		asm.LoadMem(asm.R1, regTo, placePort, asm.Half),
		asm.StoreMem(asm.RFP, onStackFlow+flowPort, asm.R1, asm.Half),
		asm.LoadMapPtr(asm.R1, flows.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, onStackFlow),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, onStackPlace),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY
		asm.FnMapUpdateElem.Call(),
	)
}

// restore puts what the socket asked for in place of where it was led.
func (h hook) restore(flows *ebpf.Map) asm.Instructions {
	code := cookie()
	if h.six {
		for w := int16(0); w < 16; w += 4 {
			code = append(code,
				asm.LoadMem(asm.R1, regCtx, ctxIP6+w, asm.Word),
				asm.StoreMem(asm.RFP, onStackFlow+flowAddr+w, asm.R1, asm.Word))
		}
	} else {
		code = append(code,
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, onStackFlow+flowAddr, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R1, mappedPrefix),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.RFP, onStackFlow+flowAddr+8, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, regCtx, ctxIP4, asm.Word),
			asm.StoreMem(asm.RFP, onStackFlow+flowAddr+12, asm.R1, asm.Word))
	}
	code = append(code,
		asm.LoadMem(asm.R1, regCtx, ctxPort, asm.Word),
		asm.StoreMem(asm.RFP, onStackFlow+flowPort, asm.R1, asm.Half))
	code = append(code, lookup(flows, onStackFlow)...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(regTo, asm.R0))
	return append(code, h.rewrite()...)
}

// rewrite puts the place that regTo points at into the context. Both places
// of a flow are of one family, so an IPv4 context gets an IPv4 address.
func (h hook) rewrite() (code asm.Instructions) {
	if h.six {
		for w := int16(0); w < 16; w += 4 {
			code = append(code,
				asm.LoadMem(asm.R1, regTo, w, asm.Word),
				asm.StoreMem(regCtx, ctxIP6+w, asm.R1, asm.Word))
		}
	} else {
		code = append(code,
			asm.LoadMem(asm.R1, regTo, 12, asm.Word),
			asm.StoreMem(regCtx, ctxIP4, asm.R1, asm.Word))
	}
	return append(code,
		asm.LoadMem(asm.R1, regTo, placePort, asm.Half),
		asm.StoreMem(regCtx, ctxPort, asm.R1, asm.Word))
}
