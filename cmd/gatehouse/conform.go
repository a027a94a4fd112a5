package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/conform"
	"github.com/gatehouse/gatehouse/internal/demo"
)

type conformC struct {
	URL         string   `arg:"" name:"url" help:"The server: http:// or https://, its host and its port."`
	Contract    []string `placeholder:"NAME" enum:"liquid,orders,b2b,oauth" help:"Judge this contract: liquid, orders, b2b or oauth; may be given more than once. Without it: all."`
	Credentials string   `placeholder:"FILE" help:"The file with the credentials to judge with, which nobody else may be able to read; docs/conform.md says what is in it."`
	Sandbox     bool     `help:"Judge with the published credentials of gatehouse demo --fixed."`
	Origin      string   `placeholder:"ORIGIN" help:"Judge calls from browsers too: an origin that the server lists."`
	Slow        bool     `help:"Judge too what has to be waited for, about half a minute."`
	Limits      bool     `help:"Judge too what is said to who comes too often. For a while after that this address is refused."`
	Only        string   `placeholder:"TEXT" help:"Judge only rows with this in their name."`
	Format      string   `placeholder:"FORMAT" enum:"text,junit" default:"text" help:"Print the verdicts as text or, for CI, as junit."`
	Out         string   `placeholder:"FILE" help:"Write the verdicts to this file instead of standard output."`
}

func (conformC) Help() string {
	return `Asks a server what the contracts say about, row by row, and prints which rows hold: for whoever builds a server or a proxy that is to speak them, and for whoever changes one. Exit status 0 if all hold, 1 if some do not, 2 if the command was not understood.

It changes nothing but sessions of the credentials it is given: it logs them in, refreshes and logs out, which ends all sessions of that login, and sends a wrong password for each once or twice. Use credentials made for this, and not in production. Rows whose credentials are missing are skipped. A secret is never on the command line, and none is printed.

    gatehouse conform http://127.0.0.1:8000 --sandbox
    gatehouse conform https://staging.example.com --credentials conform.json --contract b2b --contract oauth
    gatehouse conform http://127.0.0.1:8000 --sandbox --format junit --out conform.xml`
}

func (c *conformC) Run(sh *shell) (err error) {
	if c.Sandbox == (c.Credentials != "") && c.Sandbox {
		return usage("--sandbox brings its own credentials: leave out --credentials, or --sandbox")
	}
	given := conform.Credentials{}
	switch {
	case c.Sandbox:
		given = sandboxCredentials()
	case c.Credentials != "":
		if given, err = conform.ReadCredentials(c.Credentials); err != nil {
			return usageError{err}
		}
	}
	kit, err := conform.New(conform.Config{
		URL: c.URL, Contracts: c.Contract, Credentials: given, Origin: c.Origin, Slow: c.Slow, Limits: c.Limits, Only: c.Only,
	})
	if err != nil {
		return usageError{err}
	}
	ctx, stop := untilSignal(sh.ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	out := sh.out
	if c.Out != "" {
		file, err := os.OpenFile(c.Out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		out = &output{Writer: file}
		defer func() {
			if closed := file.Close(); err == nil && closed != nil {
				err = fmt.Errorf("--out: %w", closed)
			}
		}()
	}
	report, err := kit.Run(ctx, func(r conform.Row) {
		if c.Format == "text" {
			fmt.Fprint(out, r.Text())
		}
	})
	if err != nil {
		return err
	}
	if c.Format == "junit" {
		if err := report.JUnit(out); err != nil {
			return fmt.Errorf("write the verdicts: %w", err)
		}
	} else {
		fmt.Fprint(out, report.Summary())
	}
	if out.err != nil {
		return fmt.Errorf("write the verdicts: %w", out.err)
	}
	if bad := report.Count(conform.Failed); bad > 0 {
		return errors.New(count(bad, "row does not hold", "rows do not hold"))
	}
	if report.Count(conform.OK) == 0 {
		return errors.New("no row could be judged: all were skipped")
	}
	return nil
}

// sandboxCredentials are those that gatehouse demo --fixed takes, and the routes of its sample API.
func sandboxCredentials() conform.Credentials {
	c := conform.Credentials{Routes: conform.Routes{
		Liquid: "POST /api/cart/update", Orders: "GET /api/orders/7", B2B: "GET /api/v1/products", OAuth: "GET /api/v1/products",
	}}
	keys, users := map[string]string{}, map[string]conform.User{}
	logins, clients := map[string]conform.Login{}, map[string]conform.Client{}
	for _, f := range demo.FixedCredentials() {
		switch f.Kind {
		case auth.APIKey:
			keys[f.Case] = f.Identifier
		case auth.Basic:
			users[f.Case] = conform.User{ID: f.Identifier, Password: f.Secret}
		case auth.Login:
			logins[f.Case] = conform.Login{Username: f.Identifier, Password: f.Secret}
		case auth.OAuth:
			clients[f.Case] = conform.Client{ID: f.Identifier, Secret: f.Secret}
		}
	}
	c.Liquid = conform.Key{Key: keys["good"], Revoked: keys["revoked"], Blocked: keys["address"]}
	c.Orders, c.B2B, c.OAuth = users["good"], logins["good"], clients["good"]
	c.Orders.Revoked, c.Orders.Blocked = new(users["revoked"]), new(users["address"])
	c.B2B.Revoked, c.B2B.Blocked = new(logins["revoked"]), new(logins["address"])
	c.OAuth.Revoked, c.OAuth.Blocked = new(clients["revoked"]), new(clients["address"])
	return c
}
