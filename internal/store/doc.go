// Package store keeps the engine's records in two files:
//
//	<state-dir>/catenet.db  durable: synced at every update, outlives a power cut
//	<run-dir>/live.db       live: never synced, outlives the daemon only
//
// What the live file tells of is gone with the power too, so one that was
// written before this boot is emptied. Both outlive SIGKILL at any point: an
// update is there as a whole or not at all.
//
// A record is JSON under a kind and an ID. Each file carries the version of
// its records' shape; migrations brings older ones up to date.
package store
