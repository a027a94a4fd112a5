//go:build race

package gateway

// raced says that the race detector watches, under which everything takes ten times as long.
const raced = true
