// Package store keeps the engine's records in two files:
//
//	<state-dir>/catenet.db  durable: synced at every update, outlives a power cut
//	<run-dir>/live.db       live: never synced, outlives the daemon only
//
// What the live file tells of is gone with the power too, so one that was
// written before this boot is emptied. Both outlive SIGKILL at any point: an
// update is there as a whole or not at all.
//
// Beside each file is a journal of what was written to it (the durable file has
// another one in the run folder). A file that is damaged, absent, or older than
// its journal is made anew from that.
//
// A record is JSON under a kind and an ID, behind a checksum. Each file carries
// the version of its records' shape; migrations brings older ones up to date.
package store
