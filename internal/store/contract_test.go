package store_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) *store.DB {
		path := filepath.Join(t.TempDir(), "gatehouse.db")
		storetest.Migrated(t, path)
		return open(t, store.Config{Path: path, Now: now})
	})
}

func TestContractPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) *store.DB {
		return open(t, store.Config{
			URL: storetest.MigratedPostgres(t), Now: now,
			Pool: store.Pool{MaxConnections: 12, StatementTimeout: time.Minute}, // the machine may have much to do
		})
	})
}

func open(t *testing.T, c store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(context.Background()); err != nil {
			t.Errorf("check: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
