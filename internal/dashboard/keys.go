package dashboard

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A keyRow is a working key as its page shows it.
type keyRow struct {
	auth.KeyRow
	State string
}

// signingKeys lists the keys that sign tokens.
func (d *Dashboard) signingKeys(v *visit) error {
	rows, err := d.Registry.SigningKeys(v.r.Context(), v.actor)
	if err != nil {
		return err
	}
	var shown []keyRow
	for i := len(rows) - 1; i >= 0; i-- {
		shown = append(shown, keyRow{rows[i], keyState(rows, i, d.now())})
	}
	return v.page("signing-keys", "Signing keys", shown)
}

// keyState says what the i-th key does: the youngest active one of its ring signs, and the ones before it are kept until the last
// token of theirs is dead.
func keyState(rows []auth.KeyRow, i int, now time.Time) string {
	row := rows[i]
	if !row.RevokedAt.IsZero() {
		return "revoked"
	}
	if now.Before(row.ActiveAt) {
		return "published"
	}
	for _, later := range rows[i+1:] {
		if later.Ring == row.Ring && later.RevokedAt.IsZero() && !now.Before(later.ActiveAt) {
			return "kept"
		}
	}
	return "signs"
}

var toKeys = link{To: Root + "/signing-keys", Text: "Signing keys"}

func (d *Dashboard) askRotateKey(v *visit) error {
	return v.ask("Rotate the signing key", Ask{
		Lead:   "A new key is published now and signs once every cache of the key set can have it. Keys rotate by themselves: this is for when you do not want to wait.",
		Button: "Make a new key", Back: toKeys.To,
	}, toKeys)
}

func (d *Dashboard) rotateKey(v *visit) error {
	row, err := d.Registry.RotateSigningKey(v.r.Context(), v.actor)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askRotateKey)
	}
	return v.done(toKeys.To, "The key "+string(row.ID)+" was made.")
}

func (d *Dashboard) askRevokeKey(v *visit) error {
	rows, err := d.Registry.SigningKeys(v.r.Context(), v.actor)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if string(row.ID) == v.r.PathValue("key") {
			return v.ask("Revoke a signing key", Ask{
				Lead:   "For a key that leaked. Every token that " + string(row.ID) + " signed is dead at once, everywhere: all programs have to get new ones.",
				Button: "Revoke the key", Danger: true, Back: toKeys.To,
			}, toKeys)
		}
	}
	return auth.ErrNotFound
}

func (d *Dashboard) revokeKey(v *visit) error {
	done, err := d.Registry.RevokeSigningKey(v.r.Context(), v.actor, auth.KeyID(v.r.PathValue("key")))
	if err != nil {
		return v.refused(err, "", (*Dashboard).askRevokeKey)
	}
	return v.done(toKeys.To, "The key was revoked."+late(done))
}
