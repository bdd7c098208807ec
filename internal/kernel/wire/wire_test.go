package wire

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// refused is an answer as the kernel writes it, with the request repeated or
// only its header.
func refused(flags uint16, request []byte) Message {
	data := binary.NativeEndian.AppendUint32(nil, uint32(1<<32-uint64(unix.EBUSY)))
	data = append(data, request...)
	data = String(data, unix.NLMSGERR_ATTR_MSG, "no, thanks")
	data = Bytes(data, unix.NLMSGERR_ATTR_OFFS, binary.NativeEndian.AppendUint32(nil, 20))
	return Message{Type: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS | flags, Seq: 7, Data: data}
}

func TestAnswer(t *testing.T) {
	header := Header(nil, Message{Type: 16, Seq: 7}, 5)
	whole := append(slices.Clone(header), 1, 2, 3, 4, 5, 0, 0, 0)
	want := Answer{unix.EBUSY, "no, thanks", 20}
	done := refused(0, nil)
	done.Type = unix.NLMSG_DONE
	for name, c := range map[string]struct {
		m    Message
		want Answer
	}{
		"header":         {refused(unix.NLM_F_CAPPED, header), want},
		"whole request":  {refused(0, whole), want},
		"end of a dump":  {done, want},
		"cut off":        {refused(0, Header(nil, Message{}, 500)), Answer{Errno: unix.EBADMSG}},
		"no header":      {Message{Type: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS, Data: done.Data[:8]}, Answer{Errno: unix.EBADMSG}},
		"acknowledged":   {Message{Type: unix.NLMSG_ERROR, Data: make([]byte, 4+HeaderLen)}, Answer{}},
		"done":           {Message{Type: unix.NLMSG_DONE, Data: make([]byte, 4)}, Answer{}},
		"done, in short": {Message{Type: unix.NLMSG_DONE}, Answer{}},
		"nothing":        {Message{Type: unix.NLMSG_ERROR}, Answer{Errno: unix.EBADMSG}},
	} {
		if got := c.m.Answer(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// FuzzMessages: what comes from outside may end anywhere. Nothing is made of
// more bytes than there are.
func FuzzMessages(f *testing.F) {
	for _, m := range []Message{refused(unix.NLM_F_CAPPED, Header(nil, Message{}, 0)), {Type: 16, Data: Bytes(String(nil, 1, "eth0"), 2|unix.NLA_F_NESTED, String(nil, 3, "x"))}} {
		f.Add(append(Header(nil, m, len(m.Data)), m.Data...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for m := range Messages(b) {
			m.Answer()
			n += HeaderLen + len(m.Data)
			inner := 0
			for _, v := range Attrs(m.Data) {
				Text(v)
				inner += attrLen + len(v)
			}
			if inner > len(m.Data) {
				t.Errorf("%d bytes of attributes in %d", inner, len(m.Data))
			}
		}
		if n > len(b) {
			t.Errorf("%d bytes of messages in %d", n, len(b))
		}
	})
}

// TestWritten: what is written is read, with its padding and without its flags.
func TestWritten(t *testing.T) {
	b := String(nil, 1, "eth0")
	at := len(b)
	b = Begin(b, 2|unix.NLA_F_NESTED)
	b = End(Bytes(b, 3, []byte{9}), at)
	var got []string
	for kind, v := range Attrs(b) {
		if kind == 2 {
			for kind, v = range Attrs(v) {
				got = append(got, string(rune('0'+kind))+string(v))
			}
			continue
		}
		got = append(got, string(rune('0'+kind))+Text(v))
	}
	if !slices.Equal(got, []string{"1eth0", "3\x09"}) || len(b)%4 != 0 {
		t.Errorf("%q of %d bytes", got, len(b))
	}
	for m := range Messages(append(Header(nil, Message{16, 2, 3, 4, nil}, len(b)), b...)) {
		if m.Type != 16 || m.Flags != 2 || m.Seq != 3 || m.Port != 4 || !slices.Equal(m.Data, b) {
			t.Errorf("%+v", m)
		}
	}
}
