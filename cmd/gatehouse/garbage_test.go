package main

import "testing"

func TestHowMuchGarbageMayLieAround(t *testing.T) {
	for _, c := range []struct{ aliveMB, garbageMB int }{
		{0, 32}, {4, 32}, {16, 32}, {32, 32}, {48, 48}, {64, 48}, {200, 48}, {1000, 48},
	} {
		percent := garbagePercent(uint64(c.aliveMB) << 20)
		got := max(c.aliveMB, 1) * percent / 100
		if got < c.garbageMB-c.aliveMB/100-1 || got > c.garbageMB {
			t.Errorf("with %d MB alive, %d %% is %d MB of garbage, want %d", c.aliveMB, percent, got, c.garbageMB)
		}
	}
}
