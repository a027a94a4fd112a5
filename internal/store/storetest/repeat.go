package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

func repeats(t *testing.T, w *World) {
	ctx := t.Context()
	claim := func(key, request string, want auth.Repeat) {
		t.Helper()
		got, err := w.ClaimRepeat(ctx, []byte(key), []byte(request), w.Now().Add(time.Hour))
		no(t, err)
		if got.Claimed != want.Claimed || string(got.Request) != string(want.Request) || got.Answer != want.Answer {
			t.Errorf("%s for %s: got %+v, want %+v", key, request, got, want)
		}
	}
	first := auth.Repeat{Claimed: true}
	claim("one", "a", first)
	claim("one", "b", auth.Repeat{Request: []byte("a")})
	claim("two", "a", first)
	no(t, w.ReleaseRepeat(ctx, []byte("one"))) // it was refused
	claim("one", "b", first)
	no(t, w.FinishRepeat(ctx, []byte("one"), `{"id":1}`))
	no(t, w.ReleaseRepeat(ctx, []byte("one"))) // not what has been answered
	claim("one", "b", auth.Repeat{Request: []byte("b"), Answer: `{"id":1}`})
	w.wait(time.Hour)
	claim("one", "c", first) // as if nobody had used it before
	claim("one", "c", auth.Repeat{Request: []byte("c")})
	w.wait(time.Hour + time.Second)
	no(t, w.Prune(ctx, store.PruneBefore{}))
	no(t, w.FinishRepeat(ctx, []byte("two"), "late"))
	claim("two", "a", first)
}

func raceRepeat(t *testing.T, w *World) {
	for round := range rounds {
		oneWins(t, race(racers, func(i int) error {
			got, err := w.ClaimRepeat(t.Context(), fmt.Append(nil, "key ", round), fmt.Append(nil, i), w.Now().Add(time.Minute))
			if err == nil && !got.Claimed {
				err = auth.ErrConflict
			}
			return err
		}), auth.ErrConflict)
	}
}
