package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// An account is found by the beginnings of its words: those of its name and reference, and its number. They lie in account_words,
// and what they were taken from in the account's row (words_of): a name that a program of the version before has changed, or that
// came with a backup, shows as another one, and its words are written anew by [DB.IndexAccounts].

const (
	// commonWord is how many accounts a word must find for its being looked for in the accounts, instead of they in it.
	commonWord = 3000
	// mostWords is how many words are looked for; more find nothing else.
	mostWords = 8
	// indexedAtOnce is how many accounts get their words in one transaction.
	indexedAtOnce = 200
)

// searchable is what the words of an account are taken from, in SQL too: see [staleWords].
func searchable(name, ref string) string { return name + " " + ref }

// staleWords picks the accounts whose words are not those of their name and reference; the index accounts_stale_words has them.
const staleWords = `deleted_at IS NULL AND (words_of IS NULL OR words_of <> name || ' ' || COALESCE(ref, ''))`

// wordsOf are the words of s, each once, in lower case.
func wordsOf(s string) []string {
	words := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return !unicode.In(c, unicode.L, unicode.M, unicode.N) })
	slices.Sort(words)
	return slices.Compact(words)
}

// addWords picks the accounts that have words with these beginnings.
func (p *picking) addWords(r querier, words []string) error {
	words = words[:min(len(words), mostWords)]
	rarest, fewest := -1, int64(commonWord)
	for i, w := range words {
		var n int64
		err := r.one(`SELECT count(*) FROM (SELECT 1 FROM account_words WHERE word >= $1 AND word < $2 LIMIT $3) few`,
			in{w, w + beyond, commonWord}, out{&n})
		if err != nil {
			return err
		}
		if n < fewest {
			rarest, fewest = i, n
		}
	}
	for i, w := range words {
		if i == rarest {
			p.add(`a.id IN (SELECT w.account FROM account_words w WHERE w.word >= $%d AND w.word < $%d)`, w, w+beyond)
		} else {
			p.add(`EXISTS (SELECT 1 FROM account_words w WHERE w.account = a.id AND w.word >= $%d AND w.word < $%d)`, w, w+beyond)
		}
	}
	return nil
}

// addRef picks the accounts whose reference begins so.
func (p *picking) addRef(r querier, begins string) error {
	const few = `SELECT id FROM accounts WHERE ref >= $%d AND ref < $%d`
	var n int64
	err := r.one(`SELECT count(*) FROM (`+fmt.Sprintf(few, 1, 2)+` LIMIT $3) few`, in{begins, begins + beyond, commonWord}, out{&n})
	if err != nil {
		return err
	}
	if n < commonWord {
		p.add(`a.id IN (`+few+`)`, begins, begins+beyond)
	} else {
		p.add(`a.ref || '' >= $%d AND a.ref || '' < $%d`, begins, begins+beyond) // not by the index: most fit
	}
	return nil
}

// index writes down by what words an account is found. An account without name and reference, as a deleted one, is by none.
func (t *tx) index(id auth.AccountID, name, ref string) error {
	if err := t.later(`DELETE FROM account_words WHERE account = $1`, int64(id)); err != nil {
		return err
	}
	if name == "" && ref == "" {
		return t.later(`UPDATE accounts SET words_of = NULL WHERE id = $1`, int64(id))
	}
	for _, w := range wordsOf(searchable(name, ref) + " " + id.String()) {
		if err := t.later(`INSERT INTO account_words (account, word) VALUES ($1, $2)`, int64(id), w); err != nil {
			return err
		}
	}
	return t.later(`UPDATE accounts SET words_of = $1 WHERE id = $2`, searchable(name, ref), int64(id))
}

// IndexAccounts lets every account be found by the words that it has, where something else than this version of the program has
// named it. With nothing to do it costs next to nothing.
func (db *DB) IndexAccounts(ctx context.Context) error {
	for {
		n, err := update(ctx, db, func(t *tx) (int, error) {
			type named struct {
				id        auth.AccountID
				name, ref string
			}
			var some []named
			err := t.all(`SELECT id, name, ref FROM accounts WHERE `+staleWords+` ORDER BY id LIMIT $1`, in{indexedAtOnce},
				func(scan func(...any) error) error {
					var a named
					err := scan((*int64)(&a.id), &a.name, (*text)(&a.ref))
					some = append(some, a)
					return err
				})
			if err != nil {
				return 0, err
			}
			for _, a := range some {
				if err := t.lockAccount(a.id); errors.Is(err, auth.ErrNotFound) {
					continue // deleted just now
				} else if err != nil {
					return 0, err
				}
				if err := t.index(a.id, a.name, a.ref); err != nil {
					return 0, err
				}
			}
			return len(some), nil
		})
		if err != nil || n < indexedAtOnce {
			return wrap(err, "write down by what words accounts are found")
		}
	}
}
