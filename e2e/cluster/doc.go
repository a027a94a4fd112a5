// Package cluster tests several servers that serve together: replicas of the shipped program on one PostgreSQL, with Redis
// or without, while they, their databases and the lines between them are killed, frozen and cut. The package has nothing for
// anybody to import.
//
// Every story has a short size, for each run of the tests, and its full one with GATEHOUSE_FULL=1, as `make cluster` runs it.
package cluster
