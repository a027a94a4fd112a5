package secret

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever was done before, and however long it took, what comes after begins at a whole number of grains; unless nobody waits.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ took, want time.Duration }{
			{0, Grain},
			{time.Microsecond, Grain},
			{Grain - 1, Grain},
			{Grain, 2 * Grain},
			{Grain + time.Microsecond, 2 * Grain},
			{7*Grain + 1, 8 * Grain},
		} {
			began, pace := time.Now(), NewPace()
			time.Sleep(c.took)
			pace.Even(t.Context())
			if got := time.Since(began); got != c.want {
				t.Errorf("after %v it went on at %v, want %v", c.took, got, c.want)
			}
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		began := time.Now()
		if NewPace().Even(gone); time.Since(began) != 0 {
			t.Errorf("it waited %v for nobody", time.Since(began))
		}
	})
}
