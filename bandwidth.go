package catenet

// Bandwidth bounds what one endpoint carries, in each direction. The zero value
// bounds nothing.
type Bandwidth struct {
	In  Rate `json:"in,omitzero"`  // to the container
	Out Rate `json:"out,omitzero"` // from it
}

// Rate is a token bucket (tc-tbf(8)): what is beyond it waits for a moment, and
// is dropped if that is not enough. The zero value is no bound.
type Rate struct {
	Bits  uint64 `json:"bits"`            // a second
	Burst uint64 `json:"burst,omitempty"` // bits that may go at once; 0: chosen by the rate
}

// The least of a rate: one packet of 1,500 bytes a second; and the most of a
// burst, which the kernel counts as bytes in 32 bits.
const (
	minRate  = 1500 * 8
	maxBurst = (1<<32 - 1) * 8
)

// Validate checks both directions.
func (b Bandwidth) Validate() error {
	for _, r := range []Rate{b.In, b.Out} {
		switch {
		case r.Bits == 0 && r.Burst != 0:
			return Invalidf("a burst of %d bits has no rate", r.Burst).WithHint("give the rate in bits a second, or leave both out")
		case r.Bits != 0 && r.Bits < minRate:
			return Invalidf("%d bits a second are too few: no packet fits in", r.Bits).WithHint("rates are in bits a second, from %d", minRate)
		case r.Burst > maxBurst:
			return Invalidf("a burst of %d bits is too large", r.Burst).WithHint("the most is %d bits", uint64(maxBurst))
		}
	}
	return nil
}

// Bytes returns the rate in bytes a second, and the bucket in bytes. A bucket
// that was not asked for holds what comes in a tenth of a second, and at least
// 64 KiB, which is the largest packet that the kernel hands on in one piece.
func (r Rate) Bytes() (rate uint64, burst uint32) {
	if r.Burst == 0 {
		return r.Bits / 8, uint32(min(max(r.Bits/80, 64<<10), 1<<32-1))
	}
	return r.Bits / 8, uint32(r.Burst / 8)
}
