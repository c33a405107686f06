// Package steer spreads the datagrams of one peer over the sockets of all loops.
//
// Enters: a UDP socket of a group that shares one address by SO_REUSEPORT.
// Leaves: a program in the kernel that picks the socket by the packet, not by its sender.
// Never:  decides what is correct: a packet on any loop is handled all the same.
//
// Without it the kernel hashes the addresses, and a trunk, which is one pair of them, would
// keep one core busy and leave the others idle.
package steer
