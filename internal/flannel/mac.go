package flannel

import (
	"encoding/json"
	"fmt"
	"net"
)

// MAC is a hardware address that is compared by ==.
type MAC [6]byte

// String returns the MAC in lower case with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalJSON writes it as String does.
func (m MAC) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// UnmarshalJSON reads a MAC of one station: neither zero nor a group's.
func (m *MAC) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("read MAC: %w", err)
	}
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(m) {
		return fmt.Errorf("no MAC: %q", s)
	}
	copy(m[:], hw)
	if *m == (MAC{}) || m[0]&1 != 0 {
		return fmt.Errorf("no station's MAC: %q", s)
	}
	return nil
}
