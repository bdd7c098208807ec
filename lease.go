package catenet

import "net/netip"

// Lease is an address that somebody has been promised before it is known whose
// it will be. It stays his until it is given back, whether or not an endpoint has
// it meanwhile: the endpoint that names Holder as its ID may.
type Lease struct {
	Subnet  netip.Prefix `json:"subnet"` // of a network, or claimed
	Address netip.Addr   `json:"address"`
	Holder  string       `json:"holder,omitempty"` // ID of the endpoint it is for; "": not known yet
	MAC     string       `json:"mac,omitempty"`    // that the endpoint is to have
	// Passing: it ends with the endpoint.
	Passing bool `json:"passing,omitempty"`
}

// Claim is a subnet that somebody has been promised before there is a network of
// it.
type Claim struct {
	Pool
	Leases []netip.Addr `json:"leases,omitempty"` // handed out of it
}
