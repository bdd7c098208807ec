// Package fake holds in-memory twins of the kernel room's contracts, for tests
// of those who use them.
package fake
