package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnchangedFiles(t *testing.T) {
	smaps := `00400000-01707000 r-xp 00000000 fe:00 9995391                            /usr/local/bin/gatehouse
Size:              19484 kB
Rss:               13700 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
01707000-02b26000 r--p 01307000 fe:00 9995391                            /usr/local/bin/gatehouse
Anonymous:             0 kB
02b26000-02b30000 r--p 02726000 fe:00 9995391                            /usr/local/bin/gatehouse
Anonymous:             8 kB
02b30000-02c25000 rw-p 02726000 fe:00 9995391                            /usr/local/bin/gatehouse
Anonymous:             0 kB
02c25000-04c74000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
7f7cd3b14000-7f7cd3b1c000 r--s 00000000 fe:00 12                             /var/lib/gatehouse/gatehouse.db-shm
Anonymous:             0 kB
7ffe67f80000-7ffe67f82000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x1707000}, {0x1707000, 0x2b26000}}
	if got := unchangedFiles([]byte(smaps)); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// What was read of a file is mapped no more, and is still there.
func TestUnmapFiles(t *testing.T) {
	const size = 8 << 20
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	mapped, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	if n := bytes.Count(mapped, []byte{1}); n != size {
		t.Fatalf("%d bytes of %d are there", n, size)
	}
	before := mappedOfFiles(t)
	if err := unmapFiles(); err != nil {
		t.Fatal(err)
	}
	if after := mappedOfFiles(t); after > before-size/2>>10 {
		t.Errorf("%d kB of files are mapped, and were %d before", after, before)
	}
	if n := bytes.Count(mapped, []byte{1}); n != size {
		t.Errorf("%d bytes of %d are left", n, size)
	}
}

// mappedOfFiles is RssFile of this process, in kB.
func mappedOfFiles(t *testing.T) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kB); n == 1 {
			return kB
		}
	}
	t.Skip("this kernel does not say what is mapped of files") // proc_pid_status(5): since Linux 4.5
	return 0
}
