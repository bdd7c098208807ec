// Package foreign is for living beside the firewalls of others: Docker, ufw,
// firewalld, or somebody's own. It finds what of theirs would swallow our
// packets, and if asked puts rules where they leave a place for it. What is
// theirs it never changes.
//
// A packet has to pass the forward chain of every table: an accept of ours
// ends only our own. So the rule that lets it through has to be theirs, or
// stand in a chain of theirs.
package foreign
