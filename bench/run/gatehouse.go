package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// An installation is a data directory of the server with its configuration.
type installation struct {
	binary, dir string
	database    string // the URL of PostgreSQL; "": embedded
	at          addresses
}

type addresses struct{ listen, admin string }

// settings are the server's as they are by default, but for where it listens and keeps its data, and for limits so wide that
// they are never reached: they are looked at all the same.
const settings = `
listen: %s
admin_listen: %s
data_dir: %s
limits:
  exchange_per_address:    {rate: 1000000/s, burst: 1000000}
  exchange_per_credential: {rate: 1000000/s, burst: 1000000}
  failures_per_address:    {rate: 1000000/s, burst: 1000000}
  failures_per_identifier: {rate: 1000000/s, burst: 1000000}
`

// install makes an installation in the empty directory dir.
func install(ctx context.Context, binary, dir string) (*installation, error) {
	return installOn(ctx, binary, dir, "")
}

// installOn makes one that keeps its rows in an empty database of PostgreSQL.
func installOn(ctx context.Context, binary, dir, database string) (*installation, error) {
	in := &installation{binary: binary, dir: dir, database: database}
	if database != "" {
		key, err := exec.CommandContext(ctx, binary, "master-key", "generate").Output()
		if err != nil {
			return nil, fmt.Errorf("generate a master key: %w", err)
		}
		if err := os.WriteFile(in.masterKey(), key, 0o600); err != nil {
			return nil, err
		}
	}
	if err := in.settle(); err != nil {
		return nil, err
	}
	return in, in.command(ctx, nil, "migrate", "up")
}

// replica makes another server of an installation on PostgreSQL, in a directory of its own in dir.
func (in *installation) replica(name string) (*installation, error) {
	other := &installation{binary: in.binary, dir: filepath.Join(in.dir, name), database: in.database}
	if err := os.Mkdir(other.dir, 0o700); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(in.masterKey())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(other.masterKey(), key, 0o600); err != nil {
		return nil, err
	}
	return other, other.settle()
}

// settle finds addresses and writes the configuration.
func (in *installation) settle() error {
	var err1, err2 error
	in.at.listen, err1 = beside.FindAddress()
	in.at.admin, err2 = beside.FindAddress()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	text := fmt.Sprintf(settings, in.at.listen, in.at.admin, in.data())
	if in.database != "" {
		text += fmt.Sprintf("database: %s\nmaster_key_file: %s\n", in.database, in.masterKey())
	}
	return os.WriteFile(in.config(), []byte(text), 0o600)
}

// configure adds to the configuration.
func (in *installation) configure(yaml string) error {
	f, err := os.OpenFile(in.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(yaml)
	return errors.Join(err, f.Close())
}

func (in *installation) config() string { return filepath.Join(in.dir, "gatehouse.yaml") }
func (in *installation) data() string   { return filepath.Join(in.dir, "data") }

func (in *installation) masterKey() string { return filepath.Join(in.dir, "master.key") }

func (in *installation) serve(ctx context.Context) (*process, error) {
	return startServer(ctx, in.binary, in.config(), filepath.Join(in.dir, "server.log"), in.at)
}

// command runs one command of the binary, and reads its answer in JSON into answer unless that is nil.
func (in *installation) command(ctx context.Context, answer any, args ...string) error {
	cmd := exec.CommandContext(ctx, in.binary, append(args, "--config", in.config())...)
	cmd.Env = environ()
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("gatehouse %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(out, answer)
}

// environ is ours without settings of the server, which would change what is measured.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GATEHOUSE_") })
}

// A login is what a user types.
type login struct{ Username, Password string }

// account makes an account and returns its number.
func (in *installation) account(ctx context.Context, name string) (string, error) {
	var made struct{ ID json.Number }
	err := in.command(ctx, &made, "account", "create", "--name", name, "--json")
	return made.ID.String(), err
}

// keys makes n accounts with an API key each.
func (in *installation) keys(ctx context.Context, n int) ([]string, error) {
	var keys []string
	for i := range n {
		account, err := in.account(ctx, fmt.Sprintf("Bench %d", i))
		if err != nil {
			return nil, err
		}
		var made struct{ Key string }
		if err := in.command(ctx, &made, "credential", "create", "--account", account, "--kind", "api-key", "--json"); err != nil {
			return nil, err
		}
		keys = append(keys, made.Key)
	}
	return keys, nil
}

// A client is an OAuth client.
type client struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// clients makes n accounts with an OAuth client and an API key each.
func (in *installation) clients(ctx context.Context, n int) (clients []client, keys []string, err error) {
	for i := range n {
		account, err := in.account(ctx, fmt.Sprintf("Bench %d", i))
		if err != nil {
			return nil, nil, err
		}
		var made struct {
			client
			Key string
		}
		for _, kind := range []string{"api-key", "oauth"} {
			if err := in.command(ctx, &made, "credential", "create", "--account", account, "--kind", kind, "--json"); err != nil {
				return nil, nil, err
			}
		}
		clients, keys = append(clients, made.client), append(keys, made.Key)
	}
	return clients, keys, nil
}

// logins makes n accounts with a user each.
func (in *installation) logins(ctx context.Context, n int) ([]login, error) {
	var logins []login
	for i := range n {
		account, err := in.account(ctx, fmt.Sprintf("Bench %d", i))
		if err != nil {
			return nil, err
		}
		var made login
		if err := in.command(ctx, &made, "credential", "create", "--account", account, "--kind", "login", "--json"); err != nil {
			return nil, err
		}
		logins = append(logins, made)
	}
	return logins, nil
}
