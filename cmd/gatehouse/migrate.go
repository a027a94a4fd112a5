package main

import (
	"github.com/gatehouse/gatehouse/internal/server"
)

type migrations struct {
	Status migrateStatus `cmd:"" help:"Say which version the database's schema has."`
	Up     migrateUp     `cmd:"" help:"Make the database, or bring it to this program's version."`
}

type schemaJSON struct {
	Database string `json:"database"`
	Version  int64  `json:"version"`
	Wanted   int64  `json:"wanted"`
	Pending  bool   `json:"pending"`
}

type migrateStatus struct{ printed }

func (migrateStatus) Help() string {
	return `    gatehouse migrate status`
}

func (c *migrateStatus) Run(sh *shell) error {
	cfg, err := sh.config(nil)
	if err != nil {
		return err
	}
	have, want, err := server.Schema(sh.ctx, cfg)
	if err != nil {
		return err
	}
	path := server.DatabaseName(cfg)
	if c.JSON {
		return sh.json(schemaJSON{path, have, want, have < want})
	}
	if have < want {
		return sh.printf("%s has version %d, this program wants %d: gatehouse migrate up, or the start of gatehouse serve, brings it there\n", path, have, want)
	}
	if have > want {
		return sh.printf("%s has version %d, of a later program; this one, of version %d, can work with it\n", path, have, want)
	}
	return sh.printf("%s has version %d, as this program wants\n", path, have)
}

type migrateUp struct{ printed }

func (migrateUp) Help() string {
	return `"gatehouse serve" does the same when it starts. A database that is there is copied first, into the folder backups beside it.

    gatehouse migrate up`
}

func (c *migrateUp) Run(sh *shell) error {
	cfg, err := sh.config(nil)
	if err != nil {
		return err
	}
	path := server.DatabaseName(cfg)
	sh.note("database: %s", path)
	op, err := server.Open(sh.ctx, cfg, server.OpenOptions{Create: true})
	if err != nil {
		return err
	}
	defer op.Close()
	if op.Born && !cfg.MasterKey.Set() {
		sh.note("master key: %s; keep a copy of it elsewhere: without it no backup of the database can be used", server.MasterKeyPath(cfg.DataDir))
	}
	switch {
	case c.JSON:
		return sh.json(struct {
			Database string `json:"database"`
			From     int64  `json:"from"`
			To       int64  `json:"to"`
			Created  bool   `json:"created"`
		}{path, op.From, op.To, op.Born})
	case op.Born:
		return sh.printf("the database was made, with version %d\n", op.To)
	case op.From == op.To:
		return sh.printf("there was nothing to do: it has version %d\n", op.To)
	}
	return sh.printf("migrated from version %d to %d\n", op.From, op.To)
}
