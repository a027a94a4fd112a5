package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Repeats know what was done that is done once.
type Repeats interface {
	// Repeat returns what was done under a key.
	Repeat(ctx context.Context, key []byte) (auth.Repeat, error)
}

// FormAge is how long a form that makes a secret may lie open. That it was taken is known for twice as long.
const FormAge = 24 * time.Hour

// errOldForm is a form without what it can be taken once for, or that has lain open for too long.
var errOldForm = auth.ErrInvalid.Saying("Nothing was made: this form has lain open for more than a day. Look it over and send it again")

// Once is what a form is taken for that makes a secret: for it one is made, for whoever it was handed to and at this page alone.
func (v *visit) Once() string {
	return v.d.seal(v.onceFor(), strconv.FormatInt(v.d.now().Unix(), 36)+" "+rand.Text())
}

func (v *visit) onceFor() string { return "once " + string(v.actor.Person) + " " + v.At() }

// once takes a form that makes a secret, which its page shows: reloading what it is answered with sends it again, and makes nothing
// then. taken makes it, and to is where what it made can be looked after.
func once(page, taken func(*Dashboard, *visit) error, to func(*visit) string) func(*Dashboard, *visit) error {
	return func(d *Dashboard, v *visit) error {
		text, ok := d.unseal(v.onceFor(), v.form.Get("once"))
		at, _, _ := strings.Cut(text, " ")
		seconds, err := strconv.ParseInt(at, 36, 64)
		if !ok || err != nil || d.now().Sub(time.Unix(seconds, 0)) > FormAge {
			return v.refused(errOldForm, "", page)
		}
		sum := d.Digest("dashboard", "spent", v.onceFor(), text)
		before, err := d.Repeats.Repeat(v.r.Context(), sum[:])
		if err == nil && before.Answer != "" {
			err = auth.ErrDone
		}
		if err == nil {
			on := *d
			on.Registry = d.Registry.On(auth.Terms{Once: &auth.Once{
				Key: sum[:], Request: sum[:], Until: d.now().Add(2 * FormAge), Answer: func(any) string { return "made" },
			}})
			err = taken(&on, v)
		}
		if errors.Is(err, auth.ErrDone) {
			v.status = web.Fail(v.Header(), v.r, err).Status
			return v.page("made-already", "This was made already", to(v))
		}
		return err
	}
}
