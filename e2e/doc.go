// Package e2e tests the shipped program from outside: each test starts the real binary on data of its own, and speaks to it
// over sockets and the command line, as operators and the clients of others do. What a room promises is tested in that room;
// here is what only the whole can break. It has nothing for anybody to import.
package e2e
