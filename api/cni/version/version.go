// Package version says which versions of CNI's specification are spoken. The
// program that a runtime starts tells them by itself, the daemon judges by them:
// so they are apart from both, and import nothing.
package version

// All are the versions spoken, the oldest first.
var All = [...]string{"0.3.1", "0.4.0", "1.0.0", Newest}

// Newest is the version in which is answered what does not tell its own.
const Newest = "1.1.0"
