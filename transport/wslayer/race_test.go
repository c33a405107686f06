//go:build race

package wslayer

const raceEnabled = true
