// Package fuzz holds the fuzz targets. Each makes claims about what it is fed, beyond not to crash.
//
// Enters: seeds from parser/testdata and from parser/parsertest, and what the fuzzer makes of them.
// Leaves: inputs under testdata/fuzz that break a claim; they stay as seeds when the fault is gone.
// Never:  is imported.
package fuzz
