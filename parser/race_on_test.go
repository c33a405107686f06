//go:build race

package parser_test

// The race detector allocates on its own account.
const raceDetector = true
