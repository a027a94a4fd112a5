package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// together is how many callers a benchmark has at once for each processor.
const together = 32

// BenchmarkInsert is the floor: one row of the least that a session could be, committed with whoever else waits.
func BenchmarkInsert(b *testing.B) {
	db := benchDB(b, 0)
	if _, err := update(b.Context(), db, func(t *tx) (int64, error) {
		return t.exec(`CREATE TABLE floor (id TEXT PRIMARY KEY, account INTEGER NOT NULL, credential TEXT NOT NULL, pos INTEGER NOT NULL,
			generation INTEGER NOT NULL, started_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) STRICT`)
	}); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(together)
	measure(b)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			now := db.Now()
			id := fmt.Sprintf("%016x%06x", rand.Uint64(), rand.IntN(1<<24))
			if _, err := update(b.Context(), db, func(t *tx) (int64, error) {
				return t.exec(`INSERT INTO floor (id, account, credential, pos, generation, started_at, expires_at)
					VALUES ($1, 100001, 'c1aBcDe0f1G2', 1, 0, $2, $3)`, id, now.UnixMilli(), now.Add(time.Hour).UnixMilli())
			}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkStartSession(b *testing.B) {
	db := benchDB(b, 10_000)
	b.SetParallelism(together)
	measure(b)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := db.StartSession(b.Context(), benchLogin(db, rand.IntN(10_000))); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRotateSession refreshes sessions in no order: a few, that lie together, or very many, of which no two do.
func BenchmarkRotateSession(b *testing.B) {
	for _, each := range []int{1, 1000} { // sessions of each caller
		b.Run(fmt.Sprint(each*together*runtime.GOMAXPROCS(0)), func(b *testing.B) {
			db := benchDB(b, 10_000)
			ids := make([]auth.SessionID, each*together*runtime.GOMAXPROCS(0))
			for i := range ids {
				ids[i] = benchLogin(db, i%10_000).ID
			}
			benchSessions(b, db, ids)
			rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			var callers atomic.Int64
			b.SetParallelism(together)
			measure(b)
			b.RunParallel(func(p *testing.PB) {
				mine := ids[int(callers.Add(1)-1)*each:][:each]
				for n := 0; p.Next(); n++ {
					now := db.Now()
					_, _, err := db.RotateSession(b.Context(), mine[n%each], auth.Spend{
						Generation: int64(n / each), Until: now.Add(7 * 24 * time.Hour), AccessUntil: now.Add(time.Hour), Leeway: 10 * time.Second,
						AccessKey: "key_8Zq1rT0aBcDe", RefreshKey: "key_9Zq1rT0aBcDe", IdempotencyDigest: []byte("01234567890123456789012345678901"),
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkHolder(b *testing.B) {
	const credentials = 100_000
	db := benchDB(b, credentials)
	read := func(i int) error {
		_, err := db.Holder(b.Context(), auth.Login, benchCredential(i))
		return err
	}
	b.Run("found", func(b *testing.B) {
		measure(b)
		for range b.N {
			if err := read(rand.IntN(credentials)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("missing", func(b *testing.B) {
		measure(b)
		for range b.N {
			if err := read(credentials + rand.IntN(credentials)); err == nil {
				b.Fatal("found")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(together)
		measure(b)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if err := read(rand.IntN(credentials)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkUsage writes what credentials did that are drawn from a million, of 32 accounts; one operation is one row.
func BenchmarkUsage(b *testing.B) {
	db := benchDB(b, 0)
	hour, from := db.Now().Truncate(time.Hour), netip.MustParseAddr("192.0.2.1")
	each := func(name string, write func(some []auth.CredentialID) error) {
		b.Run(name, func(b *testing.B) {
			measure(b)
			for n := 0; n < b.N; n += 500 {
				var some []auth.CredentialID
				for range min(500, b.N-n) {
					some = append(some, benchCredential(rand.IntN(1_000_000)))
				}
				if err := write(some); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	account := func(id auth.CredentialID) auth.AccountID { return 100001 + auth.AccountID((id[0]*16+id[1])%32) }
	each("counts", func(some []auth.CredentialID) error {
		var rows []auth.UsageRow
		for _, id := range some {
			rows = append(rows, auth.UsageRow{Account: account(id), Credential: id, Hour: hour, What: auth.DidExchange, Count: 1})
		}
		return db.WriteUsage(b.Context(), rows, nil)
	})
	each("last uses", func(some []auth.CredentialID) error {
		var uses []auth.SecretUse
		for _, id := range some {
			uses = append(uses, auth.SecretUse{Credential: id, Secret: 1, Use: auth.Use{At: db.Now(), Address: from, UserAgent: "warehouse/2.1 (linux)", Count: 1}})
		}
		return db.WriteUsage(b.Context(), nil, uses)
	})
	each("addresses", func(some []auth.CredentialID) error {
		var seen []auth.Sighting
		for _, id := range some {
			seen = append(seen, auth.Sighting{Account: account(id), Credential: id, From: auth.SeenAs(from), At: db.Now(), Count: 1})
		}
		return db.WriteSightings(b.Context(), seen)
	})
}

func benchDB(b *testing.B, credentials int) *DB {
	b.Helper()
	db, err := Open(b.Context(), Config{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if _, _, err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := db.Create(b.Context(), Birth{Incarnation: "bench", SealCheck: []byte("check"), MasterKey: "master"}); err != nil {
		b.Fatal(err)
	}
	a, err := db.CreateAccount(b.Context(), "Bench", "", auth.Act{})
	if err != nil {
		b.Fatal(err)
	}
	for from := 0; from < credentials; from += 1000 {
		if _, err := update(b.Context(), db, func(t *tx) (none struct{}, err error) {
			for i := from; i < min(from+1000, credentials); i++ {
				if _, err := t.exec(`INSERT INTO credentials (id, account, kind, name, scope, token_scope, created_at, secrets_made,
					secret_number, secret_digest, secret_pepper, secret_created_at) VALUES ($1, $2, 'login', 'Warehouse', 'orders:read orders:write',
					'orders:read orders:write', $3, 1, 1, $4, 'key_7Zq1rT0aBcDe', $3)`,
					string(benchCredential(i)), int64(a.ID), db.Now().UnixMilli(), benchDigest(i)); err != nil {
					return none, err
				}
			}
			return none, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

func benchCredential(i int) auth.CredentialID {
	return auth.CredentialID(fmt.Sprintf("%012x", uint64(i)*0x9e3779b97f4a7c15>>16))
}

func benchDigest(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte("012345678901234567890123"), uint64(i))
}

func benchLogin(db *DB, i int) auth.NewSession {
	now := db.Now()
	return auth.NewSession{
		ID: auth.SessionID(fmt.Sprintf("%011x%08x", now.UnixMilli(), rand.Uint64()>>16)), Credential: benchCredential(i), SecretDigest: benchDigest(i),
		Expires: now.Add(7 * 24 * time.Hour), AccessExpires: now.Add(time.Hour), AccessKey: "key_8Zq1rT0aBcDe", RefreshKey: "key_9Zq1rT0aBcDe",
		UserAgent: "warehouse/2.1 (linux)",
	}
}

func benchSessions(b *testing.B, db *DB, ids []auth.SessionID) {
	b.Helper()
	for from := 0; from < len(ids); from += 64 {
		if _, err := update(b.Context(), db, func(t *tx) (none struct{}, err error) {
			now := db.Now()
			for i := from; i < from+64; i++ {
				if _, err := t.exec(`INSERT INTO sessions (id, account, credential, secret, pos, generation, started_at, rotated_at, access_expires_at,
					expires_at, access_key, refresh_key, scope, address, user_agent)
					VALUES ($1, 100001, $2, 1, 0, 0, $3, $3, $4, $4, 'key_8Zq1rT0aBcDe', 'key_9Zq1rT0aBcDe', 'orders:read orders:write', '', 'warehouse/2.1 (linux)')`,
					string(ids[i]), string(benchCredential(i%10_000)), now.UnixMilli(), now.Add(time.Hour).UnixMilli()); err != nil {
					return none, err
				}
			}
			return none, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// measure begins the measuring, and reports processor time too: on a busy machine it is what tells.
func measure(b *testing.B) {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	began := cpu()
	b.Cleanup(func() { b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op") })
	b.ReportAllocs()
	b.ResetTimer()
}
