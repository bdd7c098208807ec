// Package ipam decides about addresses: which subnet a network gets, whether
// the one that was asked for will do, and which address of it an endpoint
// gets. It does no I/O and knows no clock; what it decides is recorded by the
// engine, and given back to it after a restart.
package ipam
