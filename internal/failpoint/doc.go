// Package failpoint marks the doors of the daemon: each place at which it
// changes the world, which is its records, the kernel, files, and processes.
// A door says that it is about to be passed, and that it was:
//
//	failpoint.Before("nft.commit")
//	failed, err := c.exchange(e)
//	failpoint.After("nft.commit")
//
// In an ordinary build both are empty, and nothing of them is in the program.
// In one with the tag failpoint they note what is passed, and kill the process
// where they are told to: test/crash kills a daemon at every door.
package failpoint
