// Package rig runs proxies side by side for the benches: starts them pinned to a core, puts load
// on them, and reads what they cost from the kernel.
//
// Enters: which proxy, in which mode, on which core.
// Leaves: processor time and memory of the whole process tree, the generator's Result.
// Never:  asks a proxy how much it costs: only the kernel is believed, except for per-loop counters.
package rig
