package transport

// fragments cuts a packet into ones of at most mtu bytes (RFC 791, 3.2); none
// if even a header leaves no room for that.
func fragments(p []byte, mtu int) (all [][]byte) {
	h := int(p[0]&15) * 4
	room := (mtu - h) &^ 7
	if room <= 0 {
		return nil
	}
	place := be.Uint16(p[6:])
	head := p[:h]
	for rest := p[h:]; len(rest) > 0; {
		n := min(room, len(rest))
		f := append(append(make([]byte, 0, len(head)+n), head...), rest[:n]...)
		rest = rest[n:]
		at := place
		if len(rest) > 0 {
			at |= flagMF
		}
		be.PutUint16(f[2:], uint16(len(f)))
		be.PutUint16(f[6:], at)
		seal(f, len(head))
		all = append(all, f)
		place += uint16(n / 8)
		if len(all) == 1 {
			head = laterHeader(head)
		}
	}
	return all
}

// laterHeader is a header as fragments after the first have it: of the options
// only those that are to be copied, the others made no-operations.
func laterHeader(head []byte) []byte {
	const end, noop, copied = 0, 1, 0x80
	later := append([]byte(nil), head...)
	for o := later[ipHeader:]; len(o) > 0 && o[0] != end; {
		n := 1
		if o[0] != noop {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				break // nobody knows what follows
			}
			n = int(o[1])
		}
		if o[0]&copied == 0 {
			for i := range o[:n] {
				o[i] = noop
			}
		}
		o = o[n:]
	}
	return later
}
