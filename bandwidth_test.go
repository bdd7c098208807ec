package catenet

import "testing"

func TestBandwidth(t *testing.T) {
	for _, b := range []Bandwidth{{}, {In: Rate{Bits: 12000}}, {Out: Rate{Bits: 1e12, Burst: maxBurst}}} {
		if err := b.Validate(); err != nil {
			t.Errorf("%+v: %v", b, err)
		}
	}
	for _, r := range []Rate{{Burst: 1}, {Bits: 11999}, {Bits: 12000, Burst: maxBurst + 1}} {
		for _, b := range []Bandwidth{{In: r}, {Out: r}} {
			if err := b.Validate(); !IsInvalid(err) || HintOf(err) == "" {
				t.Errorf("%+v: %v", b, err)
			}
		}
	}
	for r, want := range map[Rate]uint32{{Bits: 8e6}: 100_000, {Bits: 8000}: 64 << 10, {Bits: 1e12}: 1<<32 - 1, {Bits: 8e6, Burst: 80_000}: 10_000} {
		if rate, burst := r.Bytes(); rate != r.Bits/8 || burst != want {
			t.Errorf("%+v: %d, %d bytes", r, rate, burst)
		}
	}
}
