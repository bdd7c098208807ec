package shim

import (
	"bytes"
	"errors"
	"testing"

	"github.com/catenet/catenet/test/bounds"
)

// FuzzSpec: a spec that is read is written and read again as it is.
func FuzzSpec(f *testing.F) {
	b, err := (&Spec{Hostname: "web", Args: []string{"sh", "-c", ""}, Env: []string{"A=b"}}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		bounds.Parse(t, len(b), func() {
			s, err := ReadSpec(bytes.NewReader(b))
			if err != nil {
				return
			}
			is, err := s.Encode()
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			again, err := ReadSpec(bytes.NewReader(is))
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			if twice, err := again.Encode(); err != nil || !bytes.Equal(is, twice) {
				t.Errorf("%q came back as %q, %v", is, twice, err)
			}
		})
	})
}

// FuzzReport: a report is a success, a failure that says something of itself,
// or none.
func FuzzReport(f *testing.F) {
	f.Add([]byte(started))
	f.Add((&Failure{Kind: Invalid, Msg: "wrong", Hint: "right", Errno: 28}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		bounds.Parse(t, len(b), func() {
			err := ParseReport(b)
			var failure *Failure
			if errors.As(err, &failure) {
				if again := ParseReport(failure.encode()); len(b) < maxReport && (again == nil || again.Error() != failure.Error()) {
					t.Errorf("%q came back as %v", b, again)
				}
			} else if err == nil != (string(b) == started) {
				t.Errorf("%q is %v", b, err)
			}
		})
	})
}
