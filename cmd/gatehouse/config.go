package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
)

type configs struct {
	Check  configCheck  `cmd:"" help:"Say what is wrong with the configuration, and how to put it right."`
	Print  configPrint  `cmd:"" help:"Print every setting as it is now."`
	Origin configOrigin `cmd:"" help:"Say where a setting comes from."`

	Example configExample `cmd:"" help:"Print a configuration file with every setting, its default, and what it means."`
}

type configExample struct{}

func (configExample) Help() string {
	return `What it prints changes nothing: it says what holds anyway.

    gatehouse config example > gatehouse.yaml`
}

func (configExample) Run(sh *shell) error { return sh.printf("%s", config.Example()) }

type configCheck struct{ printed }

func (configCheck) Help() string {
	return `Everything that is wrong is told at once, with file, line and key. Exit status 1 if there is anything.

    gatehouse config check --config /etc/gatehouse/gatehouse.yaml`
}

type problemJSON struct {
	Where   string `json:"where"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}

func (c *configCheck) Run(sh *shell) error {
	loaded, err := sh.config(nil)
	if err == nil {
		err = server.CheckRoutes(loaded)
	}
	if err != nil && c.JSON {
		if err := sh.json(map[string]any{"ok": false, "problems": problems(err)}); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{"ok": true, "file": loaded.File, "problems": []problemJSON{}})
	}
	return sh.printf("ok: %s, %s\n", or(loaded.File, "no configuration file"), count(len(loaded.Routes), "route", "routes"))
}

// problems takes the errors of a configuration apart.
func problems(err error) []problemJSON {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	list := []problemJSON{}
	for _, one := range all {
		var p *config.Problem
		if errors.As(one, &p) {
			list = append(list, problemJSON{p.Where, p.Key, p.Err.Error()})
		} else {
			list = append(list, problemJSON{Problem: one.Error()})
		}
	}
	return list
}

type configPrint struct{ printed }

func (configPrint) Help() string {
	return `As YAML that could be a configuration file, but for secrets, which are ***.

    gatehouse config print`
}

func (c *configPrint) Run(sh *shell) error {
	loaded, err := sh.config(nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.settings(loaded, config.Keys(), true)
	}
	return sh.printf("%s", loaded.Print())
}

type configOrigin struct {
	Key string `arg:"" optional:"" help:"The setting, as tokens.b2b.access_lifetime. Without it: all."`
	printed
}

func (configOrigin) Help() string {
	return `A flag wins over the environment, the environment over the file, the file over the default.

    gatehouse config origin tokens.b2b.access_lifetime
    gatehouse config origin`
}

func (c *configOrigin) Run(sh *shell) error {
	loaded, err := sh.config(nil)
	if err != nil {
		return err
	}
	keys := config.Keys()
	if c.Key != "" {
		if _, ok := loaded.Value(c.Key); !ok {
			return usage("there is no setting %s: gatehouse config origin shows all", quoted(c.Key))
		}
		keys = []string{c.Key}
	}
	return sh.settings(loaded, keys, c.JSON)
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

type settingJSON struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Origin   string `json:"origin"`
	Variable string `json:"variable,omitempty"`
}

// settings prints what keys are, and why.
func (sh *shell) settings(c *config.Config, keys []string, forProgram bool) error {
	list := []settingJSON{}
	rows := [][]string{{"KEY", "VALUE", "FROM"}}
	for _, key := range keys {
		value, _ := c.Value(key)
		origin := c.Origin(key)
		if flag, ok := strings.CutPrefix(origin, "flag --"); ok {
			origin = "flag --" + strings.ReplaceAll(flag, "_", "-")
		}
		list = append(list, settingJSON{key, value, origin, config.Variable(key)})
		rows = append(rows, []string{key, value, origin})
	}
	if forProgram {
		return sh.json(list)
	}
	return sh.table(rows)
}
