package server

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/store"
)

// Schema returns the version of the database's schema and the one that this program wants. It changes nothing, and wants
// neither the one nor a master key to be right.
func Schema(ctx context.Context, c *config.Config) (have, want int64, err error) {
	if !c.Database.Set() {
		if err := checkOwner(c.DataDir); err != nil {
			return 0, 0, err
		}
	}
	named := databaseConfig(c)
	named.Pending = true
	db, err := store.Open(ctx, named)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	return db.Version(ctx)
}

// Running says whether a server holds the data directory.
func Running(dataDir string) bool { return store.Locked(dataDir) }

// CheckRoutes looks at the routes of a configuration as a start would, where that sees more than reading them does.
func CheckRoutes(c *config.Config) error {
	_, err := newTable(c, nil)
	return err
}
