package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapFiles gives back the mapped pages of files that nobody has changed, which is the program itself: starting up calls most of
// it once, and an idle server little of it again. They stay in the kernel's page cache, which may drop them sooner now that
// nobody has them mapped, and what is called is mapped again.
//
// A mapping with one changed page is left alone, because a change is nowhere but there: an executable that was relocated
// when it was loaded has such, and a debugger makes some.
func unmapFiles() error {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range unchangedFiles(smaps) {
		// What is locked into memory stays, and where nothing is unmapped nothing is lost.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
	return nil
}

// A mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// unchangedFiles finds, in /proc/PID/smaps (proc_pid_smaps(5)), the private mappings of files that cannot be written to and have
// no page of their own.
func unchangedFiles(smaps []byte) []mapping {
	var found []mapping
	var at mapping
	ofFile := false
	for line := range bytes.Lines(smaps) {
		var m mapping
		var mode, offset, device string
		var inode uint64
		if n, _ := fmt.Sscanf(string(line), "%x-%x %s %s %s %d", &m.from, &m.to, &mode, &offset, &device, &inode); n == 6 {
			at, ofFile = m, inode != 0 && strings.HasPrefix(mode, "r-") && strings.HasSuffix(mode, "p")
			continue
		}
		var own int
		if n, _ := fmt.Sscanf(string(line), "Anonymous: %d kB", &own); n == 1 && own == 0 && ofFile {
			found = append(found, at)
		}
	}
	return found
}
